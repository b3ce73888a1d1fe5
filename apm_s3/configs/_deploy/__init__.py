"""Deploys from one environment to another: makes a plan, then commits all its tools together."""
