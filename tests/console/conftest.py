from collections.abc import Iterator
from pathlib import Path

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.console_pages import Console, entered


@pytest.fixture
def console(store: SqliteStore, database: Path) -> Iterator[Console]:
    """A console on the database of `store`, which this browser has entered."""
    del store  # the fixture has made the database
    read_only = SqliteStore(database, read_only=True)
    yield entered(read_only)
    read_only.close()
