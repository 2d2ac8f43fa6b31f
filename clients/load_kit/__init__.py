"""Load and soak tests of a running server, and their reports."""
