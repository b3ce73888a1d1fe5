"""Rules: their files, groups and unit tests, and the notation of series in those."""
