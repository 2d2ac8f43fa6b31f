"""What a caller may ask for: options, the fields that carry them, bodies, language tags."""
