"""The transports' verbs made reliable: names checked, retried, bounded and counted, once, here."""
