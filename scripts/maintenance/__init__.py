"""Run by who maintains this repository, once in a while: nothing here runs with the server."""
