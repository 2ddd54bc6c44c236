"""Every statement that reads or changes rows, once, by subject."""
