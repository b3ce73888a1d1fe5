"""PromQL: tokens, parser and functions."""
