"""What a manager remembers: entries within limits, reads that share a request, and a second level beside S3."""
