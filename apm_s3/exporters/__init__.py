"""Exports metrics for Prometheus, logs, and notifications of commits."""
