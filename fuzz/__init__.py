"""Coverage-guided fuzzing of what reads strangers' bytes; docs/fuzz.md shows how and what it found."""
