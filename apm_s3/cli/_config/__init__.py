"""The commands for configurations."""
