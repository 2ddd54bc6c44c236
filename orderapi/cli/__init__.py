"""The `orderapi` command: its arguments, the functions that it calls, and its output."""
