"""Fixtures of the tests of the PostgreSQL store. These tests do not depend on `--engine`."""

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
    """A real store, with the type of this engine."""
    store = PostgresStore(engine.url)
    store.prepare()
    yield store
    store.close()
