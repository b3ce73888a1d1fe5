"""Migrations: what is planned, written into a journal, moved, verified and reported."""
