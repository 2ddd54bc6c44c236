"""The engine for PostgreSQL 14 or newer."""
