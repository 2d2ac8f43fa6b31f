"""Events of jobs, signed and delivered to the endpoints that callers registered."""
