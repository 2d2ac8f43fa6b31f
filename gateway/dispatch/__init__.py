"""Windows of many requests over one or several TorchServe upstreams: fair, retried, never more than fit."""
