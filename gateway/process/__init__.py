"""The process around the application: its connections, its start and its end."""
