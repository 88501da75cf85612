"""Measurements: one command each, one table."""
