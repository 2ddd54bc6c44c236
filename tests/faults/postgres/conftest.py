"""Tests with servers of PostgreSQL of their own. They run when `--engine` asks for PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
from tests.support.replication import Pair, replicated

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out of `make test`, because they start many servers."""
    if config.getoption("--engine") != "sqlite" or config.getoption("-m"):
        return
    here = [item for item in items if item.path.is_relative_to(_HERE)]
    config.hook.pytest_deselected(items=here)
    items[:] = [item for item in items if item not in here]


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
    del store  # it has made the tables
    with closing(PostgresStore(PostgresUrl(url))) as other:
        yield other
