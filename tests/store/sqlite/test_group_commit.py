"""A batch on a real store has one COMMIT, and a failure undoes one job or the whole batch."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from orderapi.errors import KeyReused, OrderNotFound
from orderapi.orders import LEDGER_ENTRY_TYPE, ORDER_STATUS
from orderapi.records import Reply
from orderapi.store.contract import WriteTx
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import Fn, held, place, placing, request_for
from tests.support.promises import promise
from tests.support.rows import counts, query
from tests.support.store_crowd import Crowd


def in_one_batch(store: SqliteStore, database: Path, fns: list[Fn]) -> dict[int, Any]:
    """Write all `fns` in one batch, in this order. Gives the outcomes of a `Crowd`, by number."""
    with held(database):
        crowd = Crowd(lambda number: store.write(fns[number]), len(fns), store.writes_in_hand)
    crowd.join()
    return crowd.outcomes


def settle(store: SqliteStore) -> None:
    """Place two orders: a checkpoint follows the first, and the second resets the WAL."""
    place(store, "first")
    place(store, "second")


def commits_in_wal(path: Path) -> int:
    """Count the commit frames of a WAL (sqlite.org/fileformat.html#walformat)."""
    wal = path.with_name(path.name + "-wal").read_bytes()
    page_size, salts = int.from_bytes(wal[8:12]), wal[16:24]
    frames = (wal[at : at + 24] for at in range(32, len(wal), 24 + page_size))
    return sum(frame[4:8] != bytes(4) and frame[8:16] == salts for frame in frames)


def test_writes_that_are_queued_together_share_one_commit(
    store: SqliteStore, database: Path
) -> None:
    path = database
    settle(store)
    before = commits_in_wal(path)
    outcomes = in_one_batch(store, database, [placing(f"key-{n}") for n in range(40)])
    assert {type(outcome) for outcome in outcomes.values()} == {Reply}
    assert commits_in_wal(path) == before + 1
    assert counts(path) == [42, 42, 42, 42]


def test_a_batch_numbers_its_events_in_order_of_arrival(store: SqliteStore, database: Path) -> None:
    in_one_batch(store, database, [placing(f"key-{n}", customer_id=f"cust{n}") for n in range(20)])
    found = query(database, "SELECT sequence, payload ->> 'customer_id' FROM events")
    assert found == [(n + 1, f"cust{n}") for n in range(20)]


@promise("duplicates in flight wait")
def test_two_requests_with_one_key_in_one_batch_are_an_order_and_a_replay(
    store: SqliteStore,
    database: Path,
) -> None:
    outcomes = in_one_batch(
        store, database, [placing("same"), placing("same"), placing("same", quantity=2)]
    )
    assert [outcomes[0].replayed, outcomes[1].replayed] == [False, True]
    assert outcomes[0].body == outcomes[1].body
    assert isinstance(outcomes[2], KeyReused)
    assert counts(database) == [1, 1, 1, 1]


# A failure of `fn` itself undoes only its own job.


def refuse_after_writing(tx: WriteTx) -> None:
    placing("refused")(tx)
    raise OrderNotFound("ours")


def break_a_constraint(tx: WriteTx) -> None:
    _, new_order = request_for("constraint")
    order = tx.orders.insert_order(new_order, ORDER_STATUS)
    tx.orders.insert_ledger_entry(order, LEDGER_ENTRY_TYPE)
    tx.orders.insert_ledger_entry(order, LEDGER_ENTRY_TYPE)


def fail_with_a_bug(tx: WriteTx) -> None:
    placing("bug")(tx)
    raise SystemExit(3)


def test_a_failure_of_fn_undoes_only_its_own_job(store: SqliteStore, database: Path) -> None:
    settle(store)
    before = commits_in_wal(database)
    failing = [refuse_after_writing, break_a_constraint, fail_with_a_bug]
    fns = [placing("a"), failing[0], placing("b"), failing[1], placing("c"), failing[2]]
    outcomes = in_one_batch(store, database, [*fns, placing("d")])
    errors = [OrderNotFound, sqlite3.IntegrityError, SystemExit]
    assert [type(outcomes[number]) for number in (1, 3, 5)] == errors
    assert [type(outcomes[number]) for number in (0, 2, 4, 6)] == [Reply] * 4
    saved = query(database, "SELECT idempotency_key FROM idempotency_keys")
    assert {key for (key,) in saved} == {"first", "second", "a", "b", "c", "d"}
    assert counts(database) == [6, 6, 6, 6]
    assert commits_in_wal(database) == before + 1


def test_a_job_that_is_undone_leaves_no_gap_in_the_numbers(
    store: SqliteStore, database: Path
) -> None:
    fns = [placing("a"), refuse_after_writing, placing("b"), fail_with_a_bug, placing("c")]
    in_one_batch(store, database, fns)
    placed = query(database, "SELECT sequence, order_id FROM events ORDER BY sequence")
    assert [sequence for sequence, _ in placed] == [1, 2, 3]
    assert sorted(order_id for _, order_id in placed) == [order_id for _, order_id in placed]


# A failure of SQLite fails the whole batch.


def fill_the_database(tx: WriteTx) -> None:
    for number in range(1000):
        placing(f"filling-{number}", customer_id="c" * 128)(tx)


def fill_and_say_nothing(tx: WriteTx) -> None:
    """Catch the error of SQLite, as an `fn` must not do. SQLite has rolled back nevertheless."""
    with pytest.raises(sqlite3.OperationalError, match="full"):
        fill_the_database(tx)


@pytest.mark.parametrize("fill", [fill_the_database, fill_and_say_nothing])
def test_a_driver_error_in_the_middle_fails_the_whole_batch(
    store: SqliteStore, database: Path, fill: Fn
) -> None:
    """SQLITE_FULL has rolled back everything. Later jobs would otherwise commit alone."""
    place(store, "first")
    path = database
    assert store._writer._connection is not None
    store._writer._connection.execute("PRAGMA max_page_count = 1")
    outcomes = in_one_batch(store, database, [placing("a"), fill, placing("b"), placing("first")])
    assert len(outcomes) == 4
    # An outcome that is a text is the reason of a StoreUnavailable.
    assert {type(outcome) for outcome in outcomes.values()} == {str}
    assert counts(path) == [1, 1, 1, 1]
    # The limit belonged to the old connection, and the store has opened a new one.
    assert not place(store, "a").replayed
    assert not place(store, "b").replayed
    assert counts(path) == [3, 3, 3, 3]


def break_the_commit(tx: WriteTx) -> None:
    """Break a foreign key that SQLite checks only at COMMIT."""
    _, new_order = request_for("broken")
    tx.orders._execute("PRAGMA defer_foreign_keys = ON", {})
    tx.orders.insert_ledger_entry(
        tx.orders.insert_order(new_order, ORDER_STATUS), LEDGER_ENTRY_TYPE
    )
    tx.orders._execute("DELETE FROM orders WHERE customer_id = 'cust1' AND quantity = 1", {})


@promise("a failure is not remembered")
def test_a_commit_that_fails_gives_no_job_an_outcome(store: SqliteStore, database: Path) -> None:
    """Replays and refusals fail too, because they may depend on an order that was rolled back."""
    place(store, "saved", quantity=7)
    given_up = store._writer._connection
    outcomes = in_one_batch(
        store,
        database,
        [
            placing("new", quantity=3),
            placing("new", quantity=3),
            placing("saved", quantity=7),
            placing("saved", quantity=8),
            refuse_after_writing,
            break_the_commit,
        ],
    )
    assert len(outcomes) == 6
    assert all("FOREIGNKEY" in outcome for outcome in outcomes.values()), outcomes
    assert counts(database) == [1, 1, 1, 1]
    assert not place(store, "new", quantity=3).replayed
    assert store._writer._connection is not given_up
    assert counts(database) == [2, 2, 2, 2]
