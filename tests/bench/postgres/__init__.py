"""Measures the store on PostgreSQL beside simpler ways to place the same orders."""
