"""Bytes → samples → speech → windows. No model but the speech detector."""
