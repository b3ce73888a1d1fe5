"""Maintenance of stored data: status, damage, garbage."""
