"""Targets of scrapes: their files, and what relabelling leaves of them."""
