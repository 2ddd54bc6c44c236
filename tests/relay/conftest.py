from pathlib import Path

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.relay_fakes import fill


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file of the fixture `store`."""
    return tmp_path / "orders.db"


@pytest.fixture
def three(store: SqliteStore) -> SqliteStore:
    """A store with three events."""
    fill(store, 3)
    return store
