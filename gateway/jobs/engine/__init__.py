"""Batches at work: durable, in order, and in the place that other requests leave."""
