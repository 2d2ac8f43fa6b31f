"""Log lines, metrics and traces: what happens, for people and machines."""
