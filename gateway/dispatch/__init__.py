"""Windows of many requests over TorchServe upstreams: in fair order, retried, never too many at once."""
