"""Moves single objects, files and whole histories, and verifies each of them."""
