"""The tests of SQLite's internals use the store of `tests/conftest.py`, whose type says more."""

from tests.conftest import store

__all__ = ["store"]
