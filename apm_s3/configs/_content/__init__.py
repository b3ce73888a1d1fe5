"""The contents of configurations: reading, writing, comparing and editing texts. Nothing here knows S3."""
