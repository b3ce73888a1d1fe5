"""What callers read: files, bundles, history, and news of changes."""
