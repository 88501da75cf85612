"""What portal decides, as pure functions."""
