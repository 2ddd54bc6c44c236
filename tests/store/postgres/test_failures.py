"""Failures of the server while orders are placed: each SQLSTATE has the right consequence."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from orderapi.errors import KeyReused, StoreCorrupt, StoreUnavailable
from orderapi.records import PUBLIC_CLIENT, Order, OrderPage
from orderapi.store.postgres.store import PostgresStore
from tests.support.engines import PostgresEngine
from tests.support.placing import place, placing
from tests.support.postgres_faults import (
    raising,
    signal_waiting,
    waiting_for_locks,
    warning_with_each_call,
)
from tests.support.promises import promise
from tests.support.waiting import awake_s, wait_until

# The deadline of a request that cannot succeed. It must be longer than the margin that the
# server gets to stop waiting for a lock.
SHORT_S = 2.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def place_soon(store: PostgresStore, key: str, quantity: int = 1) -> None:
    place(store, key, quantity, deadline=time.monotonic() + SHORT_S)


def listed(store: PostgresStore) -> list[Order]:
    page = OrderPage(PUBLIC_CLIENT, None, None, None, 100)
    return store.read(lambda tx: tx.orders.list_orders(page))


@promise("bad days lose nothing")
@pytest.mark.parametrize("sqlstate", ["53100", "53200", "55P03", "57014", "XX000"])
def test_an_error_that_says_nothing_about_the_order_is_a_503_and_reads_go_on(
    store: PostgresStore, engine: PostgresEngine, sqlstate: str
) -> None:
    first = place(store, "first")
    with raising(engine, sqlstate):
        before = engine.dump()
        asked_at = awake_s()
        with pytest.raises(StoreUnavailable):
            place(store, "second")
        assert awake_s() - asked_at < SHORT_S, "a repetition would fail in the same way"
        assert place(store, "first").body == first.body
        with pytest.raises(KeyReused):
            place(store, "first", quantity=2)
        assert [order.order_id for order in listed(store)] == [first.order_id]
        assert engine.dump() == before
    assert not place(store, "second").replayed


@promise("bad days lose nothing")
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_conflict_with_another_transaction_is_repeated(
    store: PostgresStore, engine: PostgresEngine, sqlstate: str
) -> None:
    with raising(engine, sqlstate, times=2):
        assert not place(store, "key").replayed
    assert engine.counts() == [1, 1, 1, 1]


@pytest.mark.parametrize("sqlstate", ["22001", "23514"])
def test_one_bad_row_fails_alone(
    store: PostgresStore, engine: PostgresEngine, pool: ThreadPoolExecutor, sqlstate: str
) -> None:
    with raising(engine, sqlstate, when="NEW.quantity = 666"):
        with engine.held():
            first = pool.submit(place, store, "first")
            wait_until(lambda: waiting_for_locks(engine) == 1)
            good = [pool.submit(place, store, f"good-{number}") for number in range(7)]
            bad = pool.submit(place, store, "bad", 666)
            wait_until(lambda: store.writes_in_hand() == 9)
        assert not any(reply.result().replayed for reply in [first, *good])
        with pytest.raises(psycopg.Error) as failed:
            bad.result()
        assert failed.value.sqlstate == sqlstate
        assert engine.counts() == [8, 8, 8, 8]
    rows = engine.query("SELECT MAX(sequence), COUNT(*) FROM events")
    assert rows == [(8, 8)]


@pytest.mark.parametrize("sqlstate", ["XX001", "XX002"])
def test_damage_that_the_server_finds_is_reported_as_a_corrupt_store(
    store: PostgresStore, engine: PostgresEngine, sqlstate: str
) -> None:
    with raising(engine, sqlstate), pytest.raises(StoreCorrupt):
        place(store, "key")


@promise("an error is not a verdict")
@pytest.mark.parametrize("level", ["WARNING", "NOTICE"])
def test_a_warning_is_no_success_until_the_batch_commits_without_one(
    store: PostgresStore, engine: PostgresEngine, level: str
) -> None:
    with raising(engine, "01000", level=level):
        before = store._placements._primary.connection(time.monotonic() + 60)
        # The first call commits and warns. The second one finds the order, and does not warn.
        assert not place(store, "key").replayed
        assert store._placements._primary._connection is not before
    assert engine.counts() == [1, 1, 1, 1]


@promise("an error is not a verdict")
def test_what_was_only_committed_with_a_warning_is_not_replayed(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    """A COMMIT that was cancelled warns. Its order may exist on this server alone, and be lost."""
    first = place(store, "first")
    with warning_with_each_call(engine):
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                place_soon(store, "second")
        # The order exists, and reads show it. But no answer reports that it was made.
        assert engine.counts() == [2, 2, 2, 2]
        assert len(listed(store)) == 2
        # An order that was committed earlier, without a warning, is replayed.
        assert place(store, "first").body == first.body
    assert place(store, "second").replayed


def test_a_lock_that_is_held_for_too_long_leaves_nothing_behind(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    place(store, "first")
    with engine.held():
        with pytest.raises(StoreUnavailable):
            place_soon(store, "second")
        # The server has stopped waiting too, so no session still waits for the lock.
        wait_until(lambda: waiting_for_locks(engine) == 0)
    assert engine.counts() == [1, 1, 1, 1]


def test_replays_do_not_wait_for_a_write_that_hangs(
    store: PostgresStore, engine: PostgresEngine, pool: ThreadPoolExecutor
) -> None:
    first = place(store, "first")
    with engine.held():
        hanging = pool.submit(place, store, "second")
        wait_until(lambda: not store._placements.is_healthy())
        asked_at = awake_s()
        assert place(store, "first").body == first.body
        with pytest.raises(KeyReused):
            place(store, "first", quantity=2)
        assert awake_s() - asked_at < SHORT_S
    assert not hanging.result().replayed


@pytest.mark.parametrize(
    ("function", "is_repeated"), [("pg_terminate_backend", True), ("pg_cancel_backend", False)]
)
def test_a_call_that_an_operator_ends_is_repeated_or_refused(
    store: PostgresStore,
    engine: PostgresEngine,
    pool: ThreadPoolExecutor,
    function: str,
    is_repeated: bool,
) -> None:
    with engine.held():
        ended = pool.submit(place, store, "key")
        wait_until(lambda: waiting_for_locks(engine) == 1)
        signal_waiting(engine, function)
        if is_repeated:
            wait_until(lambda: waiting_for_locks(engine) == 1)
        else:
            with pytest.raises(StoreUnavailable):
                ended.result()
    if is_repeated:
        assert not ended.result().replayed
    assert engine.counts() == [int(is_repeated)] * 4


@promise("bad days lose nothing")
def test_a_server_that_may_only_be_read_is_written_again_when_it_can_be(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    """A primary that was demoted refuses writes with 25006."""
    first = place(store, "first")
    engine.execute(f"ALTER DATABASE {engine.database} SET default_transaction_read_only = on")
    store._placements._primary.drop()
    with pytest.raises(StoreUnavailable):
        place_soon(store, "second")
    assert place(store, "first").body == first.body
    assert len(listed(store)) == 1
    engine.execute("SET default_transaction_read_only = off")
    engine.execute(f"ALTER DATABASE {engine.database} RESET default_transaction_read_only")
    assert not place(store, "second").replayed


def test_sqlstate_25006_requires_another_connection(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    place(store, "first")
    before = store._placements._primary._connection
    with raising(engine, "25006", times=1):
        assert not place(store, "second").replayed
    assert store._placements._primary._connection is not before


def test_a_write_is_run_again_only_if_it_was_certainly_undone(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    with raising(engine, "40001", times=2):
        assert not store.write(placing("key")).replayed
    with raising(engine, "53100"), pytest.raises(StoreUnavailable):
        store.write(placing("refused"))
    with raising(engine, "01000", level="WARNING"), pytest.raises(StoreUnavailable):
        store.write(placing("warned"))
    assert engine.counts() == [2, 2, 2, 2]


def test_a_transaction_that_the_server_ends_for_being_idle_is_a_503(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    engine.execute(
        f"ALTER DATABASE {engine.database} SET idle_in_transaction_session_timeout = '50ms'"
    )

    def dawdle(tx: object) -> None:
        placing("key")(tx)  # type: ignore[arg-type]  # it is called as `fn` is
        time.sleep(0.3)

    with pytest.raises(StoreUnavailable):
        store.write(dawdle, time.monotonic() + SHORT_S)
    assert engine.counts() == [0, 0, 0, 0]
