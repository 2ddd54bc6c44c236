"""The same service as a FastAPI application, with two ways to use SQLite."""
