"""A soak test: traffic, faults on purpose, growth of memory."""
