"""The store: one seam, `read(fn)` and `write(fn)`, and the engines behind it."""
