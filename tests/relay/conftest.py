import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.relay_fakes import fill


@pytest.fixture
def three(store: SqliteStore) -> SqliteStore:
    """A store with three events."""
    fill(store, 3)
    return store
