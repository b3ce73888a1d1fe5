"""Readers for YAML, JSON and INI: they turn text into nodes with positions, within limits and without building objects.

All readers return the same lightweight tree of `Node`, so that everything else is independent of the format.
"""
