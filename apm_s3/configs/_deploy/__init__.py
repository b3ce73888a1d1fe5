"""Deploys: what one environment has, into another, planned first, then committed for all tools at once."""
