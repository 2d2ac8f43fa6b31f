"""Transcript → answer, in each response format."""
