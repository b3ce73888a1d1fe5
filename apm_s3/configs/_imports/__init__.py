"""Imports of existing layouts: directories, prefixes in S3, and Git checkouts with their history."""
