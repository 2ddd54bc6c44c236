"""Writes whose requests reach their deadline, and a store that is closed during a write."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.orders import place_order
from orderapi.store.contract import WriteTx
from orderapi.store.sqlite.files import DatabaseFiles
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import held, place, request_for
from tests.support.rows import counts, query
from tests.support.store_crowd import Crowd
from tests.support.waiting import wait_until


def test_a_job_whose_deadline_passes_in_the_queue_is_not_begun(
    store: SqliteStore, database: Path
) -> None:
    with held(database):
        dead = Crowd(lambda _: place(store, "dead", deadline=time.monotonic() + 0.3), 1)
        alive = Crowd(lambda _: place(store, "alive"), 1)
        dead.join()
    alive.join()
    assert query(database, "SELECT idempotency_key FROM idempotency_keys") == [("alive",)]


def test_a_job_whose_deadline_passes_while_its_batch_runs_is_not_begun(
    store: SqliteStore, database: Path
) -> None:
    def take_time(tx: WriteTx) -> None:
        wait_until(lambda: bool(gone.outcomes))
        tx.probe.touch()

    path, in_hand = database, store.writes_in_hand
    with held(path):
        slow = Crowd(lambda _: store.write(take_time), 1, in_hand)
        gone = Crowd(lambda _: place(store, "gone", deadline=time.monotonic() + 0.5), 1, in_hand)
        last = Crowd(lambda _: place(store, "last"), 1, in_hand)
    for crowd in (slow, gone, last):
        crowd.join()
    assert gone.outcomes == {0: "the write did not finish by its deadline"}
    assert query(path, "SELECT idempotency_key FROM idempotency_keys") == [("last",)]


def test_an_order_that_has_begun_is_committed_after_its_deadline(
    store: SqliteStore, database: Path
) -> None:
    claim, new_order = request_for("abandoned")

    gave_up = threading.Event()

    def place_slowly(tx: WriteTx) -> None:
        gave_up.wait(30)
        place_order(tx, claim, new_order)

    store.write(lambda _: None)  # opens the connection
    with pytest.raises(StoreUnavailable):
        store.write(place_slowly, time.monotonic() + 2.0)
    assert counts(database) == [0, 0, 0, 0]
    gave_up.set()
    assert place(store, "abandoned").replayed
    assert counts(database) == [1, 1, 1, 1]


def test_begin_waits_only_until_the_deadline_of_the_oldest_waiting_request(
    store: SqliteStore, database: Path
) -> None:
    """A process that waits while it holds the lock makes all other processes wait."""
    place(store, "first")
    path, in_hand = database, store.writes_in_hand
    with closing(sqlite3.connect(path, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        old_s = time.monotonic() + 3.0
        with held(path):
            old = Crowd(lambda _: place(store, "old", deadline=old_s), 1, in_hand)
            young = Crowd(lambda _: place(store, "young", deadline=old_s + 25.0), 1, in_hand)
        old.join()
        neighbour = DatabaseFiles(database).lock
        with neighbour.hold_within(8.0):
            pass
        neighbour.close()
        young.join()
    assert young.seconds[0] < 15.0
    assert "SQLITE_BUSY" in young.outcomes[0]
    assert counts(path) == [1, 1, 1, 1]


def test_a_process_has_one_writer_at_a_time(store: SqliteStore) -> None:
    with (
        store._writer._hold_write_lock(lambda act: act()),
        pytest.raises(RuntimeError, match="two writers"),
    ):
        place(store, "second")
    assert not place(store, "first").replayed


def test_a_store_that_is_closed_during_a_write_commits_it(store: SqliteStore) -> None:
    """The connection must not be closed while the writer uses it."""
    begun = threading.Event()

    def touch_slowly(tx: WriteTx) -> str:
        begun.set()
        time.sleep(1.5)
        tx.probe.touch()
        return "done"

    crowd = Crowd(lambda _: store.write(touch_slowly), 1)
    begun.wait(5)
    store.close()
    crowd.join()
    assert crowd.outcomes == {0: "done"}


def test_a_store_that_is_closed_while_a_write_waits_for_the_lock_commits_it(
    store: SqliteStore, database: Path
) -> None:
    place(store, "before")
    with held(database):
        stuck_s = time.monotonic() + 30
        crowd = Crowd(lambda _: place(store, "stuck", deadline=stuck_s), 1, store.writes_in_hand)
        closing_it = threading.Thread(target=store.close)
        closing_it.start()
        time.sleep(1.5)
    crowd.join()
    closing_it.join()
    assert not crowd.outcomes[0].replayed
    assert counts(database) == [2, 2, 2, 2]
