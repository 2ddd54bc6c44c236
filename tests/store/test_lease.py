"""A lease belongs to one store at a time, over all processes."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from orderapi.records import Lease
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from tests.support.engines import Engine
from tests.support.placing import place
from tests.support.waiting import wait_until

NEVER_S = 3600.0


@pytest.fixture
def _no_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread renew a lease that a test has made expire."""
    monkeypatch.setattr("orderapi.store.leases.RENEW_EVERY_S", NEVER_S)


@pytest.fixture
def other(store: Store, engine: Engine) -> Iterator[Store]:
    """Another store on the same data as `store`, as another process has it."""
    del store  # `store` has made the data.
    with closing(open_store(engine.url)) as other:
        yield other


def taken(store: Store, name: str = "relay") -> Lease:
    lease = store.lease(name)
    assert lease is not None
    return lease


def is_renewed(store: Store, lease: Lease) -> bool:
    return store.write(lambda tx: tx.leases.renew(lease))


def test_a_lease_belongs_to_one_store_until_that_closes(store: Store, engine: Engine) -> None:
    with closing(open_store(engine.url)) as first:
        assert first.lease("relay")
        assert first.lease("relay")
        assert not store.lease("relay")
    assert store.lease("relay")


def test_leases_of_different_names_are_independent(store: Store, other: Store) -> None:
    assert store.lease("relay")
    assert other.lease("other")
    assert not other.lease("relay")


def test_another_store_can_write_while_a_lease_is_held(store: Store, other: Store) -> None:
    assert other.lease("relay")
    assert not place(store, "meanwhile").replayed


def test_a_lease_is_renewed_in_the_background(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expires_ms() -> int:
        return int(engine.query("SELECT expires_ms FROM leases")[0][0])

    monkeypatch.setattr("orderapi.store.leases.RENEW_EVERY_S", 0.05)
    assert store.lease("relay")
    for _ in range(3):
        before = expires_ms()
        wait_until(lambda: expires_ms() > before)  # noqa: B023 - called at once


@pytest.mark.usefixtures("_no_renewal")
@pytest.mark.parametrize("expires_ms", ["0", "expires_ms - 10000", "expires_ms + 3600000"])
def test_a_lease_that_was_not_renewed_goes_to_another_store(
    store: Store, other: Store, engine: Engine, expires_ms: str
) -> None:
    """An expiry far in the future was written before the clock was set back."""
    first = taken(store)
    assert not other.lease("relay")
    engine.execute(f"UPDATE leases SET expires_ms = {expires_ms}")
    second = taken(other)
    assert second.fence > first.fence
    assert second.holder != first.holder
    assert not is_renewed(store, first)
    assert is_renewed(other, second)


@pytest.mark.usefixtures("_no_renewal")
def test_a_store_that_has_lost_a_lease_is_refused_once_even_if_the_lease_is_free_again(
    store: Store, engine: Engine
) -> None:
    first = taken(store)
    with closing(open_store(engine.url)) as other:
        engine.execute("UPDATE leases SET expires_ms = 0")
        assert other.lease("relay")
    assert store.lease("relay") is None
    assert taken(store).fence > first.fence + 1


@pytest.mark.usefixtures("_no_renewal")
def test_an_expired_lease_that_no_other_store_took_is_confirmed_and_renewed(
    store: Store, other: Store, engine: Engine
) -> None:
    first = taken(store)
    engine.execute("UPDATE leases SET expires_ms = 0")
    assert store.lease("relay") == first
    assert not other.lease("relay")


@pytest.mark.usefixtures("_no_renewal")
def test_a_transaction_of_a_holder_that_has_lost_its_lease_changes_nothing(
    store: Store, other: Store, engine: Engine
) -> None:
    first = taken(store)
    engine.execute("UPDATE leases SET expires_ms = 0")
    second = taken(other)
    before = engine.query("SELECT * FROM leases")
    assert not is_renewed(store, first)
    store.write(lambda tx: tx.leases.give_up(first))
    assert engine.query("SELECT * FROM leases") == before
    assert other.lease("relay") == second
