"""Sources of OpenAI's checkpoints: its own store, and the package index for some of them."""
