"""A window and its hypothesis as bytes, between gateway and worker."""
