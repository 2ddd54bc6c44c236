"""The tests of what is inside the store of SQLite."""

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
    """A real store in a temporary directory, whose type says more."""
    store = SqliteStore(database)
    store.prepare()
    yield store
    store.close()
