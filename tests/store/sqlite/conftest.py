"""Fixtures of the tests of the SQLite store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.engines import SqliteEngine


@pytest.fixture
def engine(tmp_path: Path) -> SqliteEngine:
    """The data of this test, on SQLite."""
    return SqliteEngine(tmp_path)


@pytest.fixture
def store(database: Path) -> Iterator[SqliteStore]:
    """A real store in a temporary directory, with the type of this engine."""
    store = SqliteStore(database)
    store.prepare()
    yield store
    store.close()
