"""What stands in configurations: reading, writing, comparing and changing their texts. Nothing here knows S3."""
