"""Stands where the core is in the real archive."""
