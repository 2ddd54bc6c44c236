"""Checkpoints: only the writer makes them, and they keep the WAL small."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orderapi.store.sqlite import checkpoint
from orderapi.store.sqlite.checkpoint import Checkpointer
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place
from tests.support.rows import counts

# An order touches about ten pages of 4 KiB, and every hundredth order checkpoints.
WAL_MAX_BYTES = 8 * 1024 * 1024


def wal_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


def test_the_wal_stays_small_under_writes(store: SqliteStore, database: Path) -> None:
    path = database
    largest = 0
    for number in range(600):
        place(store, f"key-{number}")
        largest = max(largest, wal_bytes(path))
    assert largest < WAL_MAX_BYTES
    # A checkpoint has written the orders into the database file.
    assert path.stat().st_size > 100 * 1024


def test_a_wal_that_a_crash_left_is_checkpointed_after_the_first_write(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    SqliteStore(path).prepare()
    pid = os.fork()
    if pid == 0:
        store = SqliteStore(path)
        for number in range(40):
            place(store, f"key-{number}")
        os._exit(0)
    os.waitpid(pid, 0)
    assert wal_bytes(path) > 0
    store = SqliteStore(path)
    place(store, "first")
    assert store.read(lambda tx: tx.keys.find_claim("public", "key-39")) is not None
    # This write begins after the checkpoint that follows the first write.
    store.write(lambda _: None)
    with closing(sqlite3.connect(path)) as db:
        # Everything that is in the WAL is also in the database file.
        _, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert moved == frames
    assert path.stat().st_size > 40 * 1024
    assert counts(path) == [41, 41, 41, 41]
    store.close()


def test_every_checkpoint_is_made_under_the_lock(
    store: SqliteStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock, another process could reset the WAL meanwhile, and lose transactions."""
    lock = os.open(database.with_name("orders.db-lock"), os.O_RDWR)
    seen: list[bool] = []
    original = Checkpointer.checkpoint

    def checkpoint_and_test_the_lock(self: Checkpointer, execute: Any) -> None:
        def execute_and_test(sql: str) -> Any:
            if "wal_checkpoint" in sql:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    seen.append(True)
                else:
                    fcntl.flock(lock, fcntl.LOCK_UN)
                    seen.append(False)
            return execute(sql)

        original(self, execute_and_test)

    monkeypatch.setattr(Checkpointer, "checkpoint", checkpoint_and_test_the_lock)
    monkeypatch.setattr(checkpoint, "PAGES_MAX", 10 * 11)
    for number in range(45):
        place(store, f"key-{number}")
    store.close()
    os.close(lock)
    assert seen == [True] * 5


def test_a_checkpoint_that_fails_does_not_fail_a_write(
    store: SqliteStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[bool] = []

    def fail(_: Checkpointer, execute: Any) -> None:
        failed.append(True)
        execute("SELECT * FROM nowhere")

    monkeypatch.setattr(Checkpointer, "checkpoint", fail)
    for number in range(10):
        assert not place(store, f"key-{number}").replayed
    assert counts(database) == [10, 10, 10, 10]
    assert failed


def resets(path: Path) -> int:
    """Return how often the WAL was reset, which its header counts (sqlite.org/fileformat.html)."""
    return int.from_bytes(path.with_name(path.name + "-wal").read_bytes()[12:16])


class Clock:
    """A clock that moves only when a test changes `now_s`."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class Bench:
    """A checkpointer on a small database of its own, and the statements that it ran."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None, timeout=0.1)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA wal_autocheckpoint = 0")
        self.db.execute("CREATE TABLE filling (text)")
        self.checkpointer = Checkpointer()
        self.statements: list[str] = []

    def execute(self, sql: str) -> Any:
        self.statements.append(sql)
        return self.db.execute(sql)

    def write(self) -> bool:
        """Write a page, and make a checkpoint if one is due. Tells whether it tried a reset."""
        self.statements.clear()
        self.db.execute("INSERT INTO filling VALUES (hex(zeroblob(2000)))")
        if self.checkpointer.is_due(1):
            self.checkpointer.checkpoint(self.execute)
        return any("RESTART" in sql for sql in self.statements)

    def frames(self) -> int:
        return int(self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(checkpoint, "time", clock)
    return clock


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(checkpoint, "PAGES_MAX", 1)
    monkeypatch.setattr(checkpoint, "WAL_MAX_FRAMES", 50)
    bench = Bench(tmp_path / "filling.db")
    yield bench
    bench.db.close()


def test_below_the_limit_no_checkpoint_waits_for_readers(bench: Bench, clock: Clock) -> None:
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM filling").fetchall()
        while bench.frames() < 40:
            assert not bench.write()
            clock.now_s += 100


def test_above_the_limit_a_reset_is_tried_less_and_less_often(bench: Bench, clock: Clock) -> None:
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM filling").fetchall()
        while not bench.write():
            pass
        pauses = []
        for _ in range(8):
            since = clock.now_s
            while not bench.write():
                clock.now_s += 0.5
            pauses.append(clock.now_s - since)
        assert bench.db.execute("PRAGMA busy_timeout").fetchone() == (100,)
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_the_wal_is_reset_once_the_reader_is_gone(bench: Bench, clock: Clock) -> None:
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM filling").fetchall()
        while bench.frames() < 120:
            bench.write()
        clock.now_s += checkpoint.RESTART_PAUSE_MAX_S
    assert bench.write()
    bench.write()
    assert bench.frames() < 10
    # The next reset that is due will be tried without a longer pause.
    assert bench.checkpointer._pause_s == checkpoint.RESTART_PAUSE_S


def test_overlapping_readers_do_not_let_the_wal_grow_without_limit(
    store: SqliteStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment, some reader holds a snapshot, but no reader holds one for long."""
    monkeypatch.setattr(checkpoint, "PAGES_MAX", 5 * 11)
    monkeypatch.setattr(checkpoint, "WAL_MAX_FRAMES", 200)
    monkeypatch.setattr(checkpoint, "RESTART_PAUSE_S", 0.05)
    monkeypatch.setattr(checkpoint, "RESTART_PAUSE_MAX_S", 0.1)
    path = database
    place(store, "first")
    before = resets(path)
    is_over = threading.Event()

    def read_repeatedly() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            while not is_over.is_set():
                reader.execute("BEGIN")
                reader.execute("SELECT COUNT(*) FROM orders").fetchall()
                is_over.wait(0.005)
                reader.execute("COMMIT")

    readers = [threading.Thread(target=read_repeatedly) for _ in range(4)]
    for thread in readers:
        thread.start()
    try:
        # It depends on the machine how often a reset finds no snapshot. It must happen twice.
        for number in range(20_000):
            place(store, f"key-{number}")
            if resets(path) > before + 1:
                break
    finally:
        is_over.set()
        for thread in readers:
            thread.join()
    assert resets(path) > before + 1
