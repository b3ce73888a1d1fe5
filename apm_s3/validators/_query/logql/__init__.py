"""LogQL: tokens, parser and pipelines."""
