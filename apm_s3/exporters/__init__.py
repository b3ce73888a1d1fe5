"""Exports metrics for Prometheus, logs, traces, and notifications of commits."""
