import pytest

from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.relay_fakes import fill
from tests.support.relay_receiver import filled


@pytest.fixture
def three(store: Store) -> Store:
    """A store with three events."""
    fill(store, 3)
    return store


@pytest.fixture
def backlog(engine: Engine) -> Engine:
    """Data with three events, which no process serves."""
    return filled(engine, 3)
