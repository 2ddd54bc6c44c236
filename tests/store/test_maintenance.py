"""What `maintenance.Maintenance` promises, on each engine."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from orderapi.store.contract import Store
from orderapi.store.maintenance import Auditable, Maintenance
from orderapi.store.open import open_maintenance
from tests.support.engines import Engine
from tests.support.placing import place


@pytest.fixture
def maintenance(store: Store, engine: Engine) -> Iterator[Maintenance]:
    """The maintenance of a store with two orders, which is in use."""
    for key in ("first", "second"):
        place(store, key)
    with closing(open_maintenance(engine.url)) as maintenance:
        yield maintenance


def last_sequence(auditable: Auditable) -> int:
    return auditable.read(lambda tx: tx.events.last_sequence())


def test_a_sound_store_is_read_and_checked_while_it_is_in_use(maintenance: Maintenance) -> None:
    assert last_sequence(maintenance) == 2
    assert list(maintenance.check()) == []
