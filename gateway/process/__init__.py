"""The process around the application: connections, start and end."""
