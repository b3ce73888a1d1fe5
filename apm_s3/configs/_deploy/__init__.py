"""Deploys from one environment to another: planned first, then committed for all tools together."""
