"""Lists both sides of a migration in parallel ranges, into the journal."""
