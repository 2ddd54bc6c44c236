"""The operator's pages: a small application of its own, which only reads the store."""
