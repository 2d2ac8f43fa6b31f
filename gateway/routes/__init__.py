"""The gateway's paths, one file per group; each file has a `router`."""
