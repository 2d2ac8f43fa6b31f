"""The texts, schemas and examples of the API document."""
