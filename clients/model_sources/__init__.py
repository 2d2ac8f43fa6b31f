"""Where OpenAI's checkpoints can be had: its own store, and the package index for some of them."""
