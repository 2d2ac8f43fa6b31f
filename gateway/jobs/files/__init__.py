"""Files of the callers: what they sent, and what batches made of it."""
