"""The SQLite engine: its pragmas, its failures, its locks, and forks."""

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.orders import LEDGER_ENTRY_TYPE, ORDER_STATUS, place_order
from orderapi.records import PUBLIC_CLIENT, OrderPage, Reply
from orderapi.store.contract import WriteTx
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place, request_for
from tests.support.promises import promise
from tests.support.rows import counts, query

EVERYTHING = OrderPage(PUBLIC_CLIENT, None, None, None, 100)
IN_FORCE = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "wal_autocheckpoint": 0,
    "mmap_size": 0,
    "journal_size_limit": 64 * 1024 * 1024,
}


def test_pragmas_are_in_force_on_every_connection(store: SqliteStore) -> None:
    place(store, "first")
    store.read(lambda tx: tx.orders.list_orders(EVERYTHING))
    writer = store._writer._connection
    assert writer is not None
    for connection in (writer, *store._readers._idle):
        for pragma, value in IN_FORCE.items():
            assert connection.rows(f"PRAGMA {pragma}", {}) == [(value,)], pragma
    assert store._readers._idle
    for reader in store._readers._idle:
        assert reader.rows("PRAGMA query_only", {}) == [(1,)]


def test_pragmas_are_in_force_after_a_reopening(store: SqliteStore) -> None:
    place(store, "first")
    given_up = store._writer._connection
    with pytest.raises(StoreUnavailable):
        store.write(lambda tx: list(tx.orders._execute("SELECT * FROM nowhere", {})))
    place(store, "second")
    assert store._writer._connection is not None
    assert store._writer._connection is not given_up
    for pragma, value in IN_FORCE.items():
        assert store._writer._connection.rows(f"PRAGMA {pragma}", {}) == [(value,)], pragma


def test_the_seeds_sql_runs_on_a_live_database(store: SqliteStore, database: Path) -> None:
    orders = [place(store, f"key-{n}", customer_id=f"cust{n}").order_id for n in (1, 2)]
    path = database
    assert query(path, "SELECT COUNT(*) FROM orders;") == [(2,)]
    assert query(path, "SELECT COUNT(*) FROM ledger;") == [(2,)]
    joined = query(
        path,
        "SELECT orders.order_id, orders.customer_id, ledger.ledger_id FROM orders"
        " JOIN ledger ON orders.order_id = ledger.order_id;",
    )
    assert joined == [(orders[0], "cust1", 1), (orders[1], "cust2", 2)]


# Failures of the driver.


def limit_pages(store: SqliteStore, most: int) -> None:
    place(store, "before-the-limit")
    assert store._writer._connection is not None
    store._writer._connection.execute(f"PRAGMA max_page_count = {most}")


def test_a_failure_that_fn_survives_undoes_its_own_statement_only(
    store: SqliteStore, database: Path
) -> None:
    claim, new_order = request_for("survived")

    def survive(tx: WriteTx) -> None:
        place_order(tx, claim, new_order)
        with pytest.raises(sqlite3.IntegrityError):
            tx.keys.save_claim(claim, Reply(201, "{}", "no-such-order"))

    store.write(survive)
    assert counts(database) == [1, 1, 1, 1]


@promise("bad days lose nothing")
def test_a_full_database_refuses_whole_orders_and_goes_on_reading(
    store: SqliteStore, database: Path
) -> None:
    limit_pages(store, 1)
    claim, _ = request_for("before-the-limit")
    placed = place_until_refused(store)
    assert len(set(counts(database))) == 1
    assert counts(database)[0] == placed + 1
    assert store.read(lambda tx: tx.keys.find_claim(PUBLIC_CLIENT, claim.key)) is not None
    assert place(store, "before-the-limit").replayed
    # The limit belonged to the connection, and that was given up: the same key succeeds.
    assert not place(store, f"filling-{placed}", customer_id="c" * 128).replayed


def place_until_refused(store: SqliteStore) -> int:
    for number in range(2000):
        try:
            place(store, f"filling-{number}", customer_id="c" * 128)
        except StoreUnavailable:
            return number
    raise AssertionError("never full")


def test_what_follows_a_failure_that_rolled_back_never_commits_alone(
    store: SqliteStore, database: Path
) -> None:
    """SQLITE_FULL ends the whole transaction: a later statement would be one of its own."""
    limit_pages(store, 1)
    claim, new_order = request_for("partial")
    path = database
    before = counts(path)

    def go_on_after_full(tx: WriteTx) -> None:
        place_order(tx, claim, new_order)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            fill(tx)
        tx.probe.touch()

    def fill(tx: WriteTx) -> None:
        for number in range(1000):
            place_order(tx, *request_for(f"filling-{number}", customer_id="c" * 128))

    with pytest.raises(StoreUnavailable):
        store.write(go_on_after_full)
    assert counts(path) == before
    assert query(path, "SELECT checked_at FROM readiness_probe") == [("1970-01-01T00:00:00.000Z",)]
    place(store, "partial")


def test_a_driver_error_in_the_middle_leaves_nothing(store: SqliteStore, database: Path) -> None:
    claim, new_order = request_for("middle")

    def fail_in_the_middle(tx: WriteTx) -> None:
        order = tx.orders.insert_order(new_order, ORDER_STATUS)
        tx.orders.insert_ledger_entry(order, LEDGER_ENTRY_TYPE)
        list(tx.orders._execute("SELECT * FROM no_such_table", {}))

    with pytest.raises(StoreUnavailable):
        store.write(fail_in_the_middle)
    assert counts(database) == [0, 0, 0, 0]
    assert not place(store, claim.key).replayed


def test_a_commit_that_hits_the_file_size_limit_gives_nobody_a_result(tmp_path: Path) -> None:
    """Another process, since RLIMIT_FSIZE cannot be raised again by everybody."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(write_beyond_the_limit(tmp_path / "orders.db"))
        except BaseException:
            os._exit(100)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    made = counts(tmp_path / "orders.db")
    assert len(set(made)) == 1
    assert made[0] > 0


def write_beyond_the_limit(path: Path) -> int:
    import resource

    store = SqliteStore(path)
    store.prepare()
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, resource.RLIM_INFINITY))
    placed = place_until_refused(store)
    replayed = place(store, "filling-0", customer_id="c" * 128).replayed
    if not replayed or set(counts(path)) != {placed}:
        return 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    place(store, f"filling-{placed}", customer_id="c" * 128)
    return 0 if set(counts(path)) == {placed + 1} else 3


def test_an_outside_lock_is_waited_for_until_the_deadline(
    store: SqliteStore, database: Path
) -> None:
    place(store, "before")
    with closing(sqlite3.connect(database, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            place(store, "meanwhile", deadline=started + 0.5)
        assert time.monotonic() - started >= 0.5
        assert store.read(lambda tx: len(tx.orders.list_orders(EVERYTHING))) == 1
        outside.execute("ROLLBACK")
    # Made now, or by the abandoned job at the last moment; not by both.
    place(store, "meanwhile")
    assert counts(database) == [2, 2, 2, 2]


def test_an_outside_lock_that_ends_in_time_fails_nobody(store: SqliteStore, database: Path) -> None:
    with closing(
        sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    ) as outside:
        outside.execute("BEGIN IMMEDIATE")
        threading.Timer(0.5, outside.execute, ["ROLLBACK"]).start()
        assert not place(store, "patient").replayed


def test_a_database_held_exclusively_is_waited_for_at_the_first_write(
    store: SqliteStore, database: Path
) -> None:
    """As while another process recovers the WAL: the very opening is then BUSY."""
    with closing(
        sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    ) as outside:
        outside.execute("PRAGMA locking_mode = EXCLUSIVE")
        outside.execute("BEGIN IMMEDIATE")
        threading.Timer(0.5, outside.close).start()
        assert not place(store, "patient").replayed
        assert counts(database) == [1, 1, 1, 1]


# Processes.


def test_a_store_used_before_a_fork_is_refused_after_it(store: SqliteStore) -> None:
    place(store, "parent")
    pid = os.fork()
    if pid == 0:
        os._exit(refusals_after_fork(store))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    place(store, "parent again")


def refusals_after_fork(store: SqliteStore) -> int:
    refusals = 0
    for use in (
        lambda: place(store, "child"),
        lambda: store.read(lambda tx: tx.orders.list_orders(EVERYTHING)),
    ):
        try:
            use()
        except RuntimeError:
            refusals += 1
        except BaseException:
            return 100
    return refusals


def test_two_stores_on_one_file_take_turns(store: SqliteStore, database: Path) -> None:
    second = SqliteStore(database)
    try:
        threads = [
            threading.Thread(target=lambda s=s, n=n: [place(s, f"{n}-{i}") for i in range(20)])
            for n, s in enumerate([store, second] * 4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        second.close()
    assert counts(database) == [160, 160, 160, 160]
    ((lowest, highest),) = query(database, "SELECT MIN(sequence), MAX(sequence) FROM events")
    assert (lowest, highest) == (1, 160)
