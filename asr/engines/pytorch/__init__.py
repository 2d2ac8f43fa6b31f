"""The engine on torch: encoder, decoder and its caches on CPUs and GPUs."""
