"""Tools for those who keep this library up to date. Not installed with it."""
