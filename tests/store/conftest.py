from collections.abc import Iterator
from pathlib import Path

import pytest

from orderapi.store.contract import Store
from orderapi.store.open import open_store
from tests.support.engines import ENGINES, Engine


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """Each engine in turn, with data of its own."""
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    """A prepared store on `engine`."""
    store = open_store(engine.url)
    store.prepare()
    yield store
    store.close()
