"""The demo, and the configurations that it shows."""
