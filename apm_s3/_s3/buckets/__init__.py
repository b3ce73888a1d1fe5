"""The verbs for buckets: settings, plans, emptying, replication, policies, usage."""
