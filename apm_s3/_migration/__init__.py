"""Migrations: plan, journal, move, verify and report."""
