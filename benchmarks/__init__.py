"""Measurements beside other clients. Nothing here is a test: figures depend on the machine, ratios less so."""
