"""Programs for maintainers; the server runs none of them."""
