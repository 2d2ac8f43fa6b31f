"""Trains the bundled demo checkpoint on synthesised speech."""
