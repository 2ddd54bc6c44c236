"""A lease belongs to one store at a time, over all processes."""

from contextlib import closing

from orderapi.store.contract import Store
from orderapi.store.open import open_store
from tests.support.engines import Engine
from tests.support.placing import place


def test_a_lease_belongs_to_one_store_until_that_closes(store: Store, engine: Engine) -> None:
    with closing(open_store(engine.url)) as first:
        assert first.lease("relay")
        assert first.lease("relay")
        assert not store.lease("relay")
    assert store.lease("relay")


def test_leases_of_different_names_are_independent(store: Store, engine: Engine) -> None:
    assert store.lease("relay")
    with closing(open_store(engine.url)) as other:
        assert other.lease("other")
        assert not other.lease("relay")


def test_a_lease_keeps_nobody_from_writing(store: Store, engine: Engine) -> None:
    with closing(open_store(engine.url)) as other:
        assert other.lease("relay")
        assert not place(store, "meanwhile").replayed
