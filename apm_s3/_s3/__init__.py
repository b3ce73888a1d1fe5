"""Makes the transports' verbs reliable: checks names, retries, limits and counts in one place."""
