"""Tokens → text, times and verdicts."""
