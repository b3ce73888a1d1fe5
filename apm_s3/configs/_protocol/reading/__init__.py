"""Reads the documents and blobs of a store, verifies every hash, and caches what never changes."""
