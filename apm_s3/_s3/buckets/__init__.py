"""The verbs about buckets: settings, plans, emptying, replication, policies, usage."""
