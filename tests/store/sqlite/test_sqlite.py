"""The SQLite engine: pragmas, failures of SQLite, locks of other programs, and forks."""

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


def test_the_sql_of_the_contract_runs_on_a_database_in_use(
    store: SqliteStore, database: Path
) -> None:
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


# Failures of SQLite.


def limit_pages(store: SqliteStore, pages_max: int) -> None:
    place(store, "before-the-limit")
    assert store._writer._connection is not None
    store._writer._connection.execute(f"PRAGMA max_page_count = {pages_max}")


def test_a_failed_statement_that_fn_catches_undoes_only_that_statement(
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
def test_a_full_database_refuses_whole_orders_and_still_reads(
    store: SqliteStore, database: Path
) -> None:
    limit_pages(store, 1)
    claim, _ = request_for("before-the-limit")
    placed = place_until_refused(store)
    assert len(set(counts(database))) == 1
    assert counts(database)[0] == placed + 1
    assert store.read(lambda tx: tx.keys.find_claim(PUBLIC_CLIENT, claim.key)) is not None
    assert place(store, "before-the-limit").replayed
    # The limit belonged to the old connection. The store has opened a new one, so the same key
    # succeeds.
    assert not place(store, f"filling-{placed}", customer_id="c" * 128).replayed


def place_until_refused(store: SqliteStore) -> int:
    for number in range(2000):
        try:
            place(store, f"filling-{number}", customer_id="c" * 128)
        except StoreUnavailable:
            return number
    raise AssertionError("the database never became full")


def test_a_statement_after_a_rollback_by_sqlite_never_commits_alone(
    store: SqliteStore, database: Path
) -> None:
    """SQLITE_FULL ends the whole transaction, so a later statement would be a new transaction."""
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


def test_an_error_of_sqlite_in_the_middle_undoes_the_whole_write(
    store: SqliteStore, database: Path
) -> None:
    claim, new_order = request_for("middle")

    def fail_in_the_middle(tx: WriteTx) -> None:
        order = tx.orders.insert_order(new_order, ORDER_STATUS)
        tx.orders.insert_ledger_entry(order, LEDGER_ENTRY_TYPE)
        list(tx.orders._execute("SELECT * FROM no_such_table", {}))

    with pytest.raises(StoreUnavailable):
        store.write(fail_in_the_middle)
    assert counts(database) == [0, 0, 0, 0]
    assert not place(store, claim.key).replayed


def test_a_write_beyond_the_file_size_limit_is_refused_and_undone(tmp_path: Path) -> None:
    """The test uses a child process, so that the limit does not apply to this process."""
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


def test_a_write_waits_for_the_lock_of_another_program_until_its_deadline(
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
    # This call makes the order, or the abandoned job has made it at the last moment.
    place(store, "meanwhile")
    assert counts(database) == [2, 2, 2, 2]


def test_a_write_succeeds_when_another_program_releases_its_lock_in_time(
    store: SqliteStore, database: Path
) -> None:
    with closing(
        sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    ) as outside:
        outside.execute("BEGIN IMMEDIATE")
        threading.Timer(0.5, outside.execute, ["ROLLBACK"]).start()
        assert not place(store, "patient").replayed


def test_the_first_write_waits_for_a_program_that_locks_the_database_exclusively(
    store: SqliteStore, database: Path
) -> None:
    """Opening the database is then BUSY too, as while another process recovers the WAL."""
    with closing(
        sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    ) as outside:
        outside.execute("PRAGMA locking_mode = EXCLUSIVE")
        outside.execute("BEGIN IMMEDIATE")
        threading.Timer(0.5, outside.close).start()
        assert not place(store, "patient").replayed
        assert counts(database) == [1, 1, 1, 1]


# Several processes.


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
