"""Engines side by side: the same weights, the same windows, one process each."""
