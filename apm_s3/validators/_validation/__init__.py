"""Validation as a caller meets it: its entry points, in and outside an event loop, and the cache of their results."""
