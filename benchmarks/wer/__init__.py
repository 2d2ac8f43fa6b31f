"""What systems write about recordings with reference texts: asked, kept, scored, compared and drawn."""
