"""The `orderapi` command: what it is given, what it calls, what it shows."""
