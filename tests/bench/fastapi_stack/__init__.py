"""The same service as a FastAPI application would have it, in two ways of using SQLite."""
