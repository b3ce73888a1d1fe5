"""Looking after what is stored: status, damage, garbage."""
