"""What the API document says of each route: schemas, examples, texts."""
