from collections.abc import Iterator

import pytest

from orderapi.store.contract import Store
from orderapi.store.open import open_store
from tests.support.console_pages import Console, entered
from tests.support.engines import Engine


@pytest.fixture
def console(store: Store, engine: Engine) -> Iterator[Console]:
    """A console on the database of `store`, which this browser has entered."""
    del store  # `store` has made the database
    read_only = open_store(engine.url, read_only=True)
    yield entered(read_only)
    read_only.close()
