"""RE2: the syntax of regular expressions as Go reads it, and matching."""
