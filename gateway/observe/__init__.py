"""What happens, for people and machines: log lines, metrics, traces."""
