"""The tests of what is inside the store of PostgreSQL. They run whatever engine is chosen."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orderapi.store.postgres.store import PostgresStore
from tests.support.engines import PostgresEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[PostgresEngine]:
    """The data of this test, on PostgreSQL."""
    engine = PostgresEngine(tmp_path)
    yield engine
    engine.remove()


@pytest.fixture
def store(engine: PostgresEngine) -> Iterator[PostgresStore]:
    """A real store, whose type says more."""
    store = PostgresStore(engine.url)
    store.prepare()
    yield store
    store.close()
