"""Text in, nodes with positions out: YAML, JSON and INI, each within the same budgets, none building objects.

Every reader returns one light tree of `Node` whatever the format was, so that all that comes after is written once.
"""
