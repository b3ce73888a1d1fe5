"""The commands for buckets, objects and what moves between them."""
