"""What the tests with servers of PostgreSQL of their own share."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
from tests.support.replication import Pair, replicated


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary, and the standby without which no COMMIT of the primary succeeds."""
    with replicated() as pair:
        yield pair


@pytest.fixture
def url(pair: Pair) -> str:
    """The URL of an empty database, which names both servers."""
    pair.primary.create_database("orders")
    return pair.url("orders")


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    """A store of one process."""
    with closing(PostgresStore(PostgresUrl(url))) as store:
        store.prepare()
        yield store


@pytest.fixture
def other_store(url: str, store: PostgresStore) -> Iterator[PostgresStore]:
    """A store as another process has it, which has written nothing."""
    del store  # This store has made the tables.
    with closing(PostgresStore(PostgresUrl(url))) as other:
        yield other
