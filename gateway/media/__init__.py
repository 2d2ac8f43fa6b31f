"""Prepares uploads in processes of their own: hostile media that breaks one costs one upload."""
