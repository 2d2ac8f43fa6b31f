"""Uploads prepared in processes of their own: what hostile media breaks there costs one upload."""
