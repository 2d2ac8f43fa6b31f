"""What the gateway answers, one file per group of paths; each has a `router`."""
