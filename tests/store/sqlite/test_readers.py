"""Reads of the SQLite store change nothing and hold no snapshot afterwards."""

import sqlite3
from pathlib import Path

import pytest

from orderapi.errors import KeyReused
from orderapi.orders import find_reply
from orderapi.records import PUBLIC_CLIENT
from orderapi.store.contract import WriteTx
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place, request_for
from tests.support.promises import promise
from tests.support.rows import counts, query


def test_a_read_cannot_write(store: SqliteStore, database: Path) -> None:
    place(store, "only")
    with pytest.raises(Exception, match=r"."):
        store.read(lambda tx: WriteTx(tx.orders._execute).probe.touch())
    assert counts(database) == [1, 1, 1, 1]
    assert query(database, "SELECT checked_at FROM readiness_probe") == [
        ("1970-01-01T00:00:00.000Z",)
    ]


def test_a_read_that_fails_leaves_no_snapshot_open(store: SqliteStore, database: Path) -> None:
    place(store, "key")
    for _ in range(50):
        with pytest.raises(ZeroDivisionError):
            store.read(lambda tx: (tx.keys.find_claim(PUBLIC_CLIENT, "key"), 1 // 0))
        assert store.read(lambda tx: tx.keys.find_claim(PUBLIC_CLIENT, "key")) is not None
    # If a snapshot were open, a checkpoint could not move the whole WAL.
    store.write(lambda _: None)  # begins after the checkpoint of the writer
    with sqlite3.connect(database) as db:
        busy, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert (busy, moved) == (0, frames)


def test_a_conflict_opens_no_new_connection(store: SqliteStore) -> None:
    place(store, "key")
    other, _ = request_for("key", quantity=2)
    store.read(lambda tx: find_reply(tx, request_for("key")[0]))
    (reader,) = store._readers._idle
    for _ in range(3):
        with pytest.raises(KeyReused):
            store.read(lambda tx: find_reply(tx, other))
    assert store._readers._idle == [reader]


@promise("a replay is the same answer")
def test_a_replay_writes_nothing_and_commits_nothing(store: SqliteStore, database: Path) -> None:
    place(store, "replayed")
    with sqlite3.connect(database) as watcher:
        (before,) = watcher.execute("PRAGMA data_version").fetchone()
        assert place(store, "replayed").replayed
        (after,) = watcher.execute("PRAGMA data_version").fetchone()
    assert before == after
