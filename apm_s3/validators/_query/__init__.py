"""Parsers for the query languages in configurations: regular expressions, PromQL and LogQL."""
