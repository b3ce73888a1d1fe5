"""The cache of a manager: limited entries, reads that share a request, and a second level."""
