"""Several processes on one database: their lock, and a WAL that a killed process left."""

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.sqlite.files import DatabaseFiles
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import held, place
from tests.support.promises import promise


def test_the_lock_excludes_other_processes_that_write(database: Path) -> None:
    first, second = DatabaseFiles(database).lock, DatabaseFiles(database).lock
    has_entered = threading.Event()

    def enter() -> None:
        second.take()
        has_entered.set()

    assert first.try_take()
    assert not second.try_take()
    thread = threading.Thread(target=enter)
    thread.start()
    assert not has_entered.wait(0.3)
    first.release()
    assert has_entered.wait(5)
    thread.join()
    first.close()
    second.close()


def test_a_symbolic_link_to_a_database_has_the_same_lock(
    store: SqliteStore, database: Path
) -> None:
    link = database.with_name("link.db")
    link.symlink_to(database)
    with held(link), pytest.raises(Exception, match="cannot be used"):
        place(store, "key", deadline=time.monotonic() + 0.3)
    assert not place(store, "key").replayed


@promise("a 201 is durable")
def test_the_wal_of_a_killed_process_is_synced_before_a_replay_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may have been killed between write and fsync, and a replay makes no fsync."""
    path = tmp_path / "orders.db"
    SqliteStore(path).prepare()
    pid = os.fork()
    if pid == 0:
        place(SqliteStore(path), "key")
        os._exit(0)
    os.waitpid(pid, 0)
    wal = path.with_name("orders.db-wal")
    assert wal.stat().st_size > 0
    synced: list[int] = []
    original = os.fdatasync

    def note_and_sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        original(descriptor)

    monkeypatch.setattr(os, "fdatasync", note_and_sync)
    store = SqliteStore(path)
    assert store.read(lambda tx: tx.keys.find_claim("public", "key")) is not None
    assert synced == [wal.stat().st_ino]
    store.close()


def test_a_read_waits_while_another_process_locks_the_database_exclusively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orderapi.store.sqlite.readers.LOCKED_OUT_MAX_S", 30.0)
    path = tmp_path / "orders.db"
    SqliteStore(path).prepare()
    store = SqliteStore(path)
    found: list[object] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        reading = threading.Thread(
            target=lambda: found.append(store.read(lambda tx: tx.events.last_sequence()))
        )
        reading.start()
        time.sleep(0.3)
        assert found == []
    reading.join(30)
    assert found == [0]
    store.close()
