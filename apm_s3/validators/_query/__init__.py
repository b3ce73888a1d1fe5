"""The query languages inside configurations, read by parsers of our own: regular expressions, PromQL and LogQL."""
