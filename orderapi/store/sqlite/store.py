"""The SQLite engine: reading on the thread that asks, writing in batches, and checkpoints."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from orderapi.errors import StoreUnavailable
from orderapi.store import migrate
from orderapi.store.contract import REQUEST_TIME_S
from orderapi.store.group_commit import (
    Batch,
    GroupCommit,
    Job,
    Natively,
    native_lock,
    native_sleep,
)
from orderapi.store.sqlite import integrity
from orderapi.store.sqlite import start as sqlite_start
from orderapi.store.sqlite.checkpoint import Checkpointer
from orderapi.store.sqlite.connection import (
    DRIVER_ERRORS,
    OUR_FAULTS,
    Connection,
    is_busy,
    unavailable,
    until,
)
from orderapi.store.sqlite.copy import copy
from orderapi.store.sqlite.files import DatabaseFiles
from orderapi.store.sqlite.savepoint import Run, run_in_savepoint
from orderapi.store.statements.execution import Row
from orderapi.store.statements.transaction import ReadTx, WriteTx

T = TypeVar("T")

# How long readers wait, together, for a program that shuts all others out of the database.
PATIENCE_S = 1.0


class SqliteStore:
    """A store in one SQLite file; see `contract.Store`.

    With `read_only` the file is opened for reading alone; with `immutable` also without a lock, and
    without anything made beside it, which only a file that nobody writes can bear.
    """

    def __init__(self, path: Path, *, read_only: bool = False, immutable: bool = False) -> None:
        self._mode = "immutable" if immutable else "ro" if read_only else "rw"
        self._files = DatabaseFiles(path)
        self._known = migrate.load("sqlite")
        self._commits = GroupCommit(self._commit, self._checkpoint)
        self._write_connection: Connection | None = None
        self._is_writing = native_lock()
        self._checkpointer = Checkpointer()
        # Idle read connections: append and pop are atomic, and the newest is the warmest.
        self._idle_readers: list[Connection] = []
        # Since when readers have been shut out, and when one was last refused for it.
        self._shut_out = (float("-inf"), float("-inf"))
        self._pid: int | None = None
        self._committed_at = float("-inf")

    def prepare(self) -> None:
        """See `contract.Store`: make the database, or bring its schema up to date."""
        sqlite_start.prepare(self._files, self._known)

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`: run `fn` on one snapshot."""
        if deadline is None:
            deadline = time.monotonic() + REQUEST_TIME_S
        return self._read(lambda connection: fn(ReadTx(connection.rows)), deadline)

    def write(self, fn: Callable[[WriteTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`: run `fn` in one durable transaction."""
        self._refuse_other_process()
        if deadline is None:
            deadline = time.monotonic() + REQUEST_TIME_S
        result: T = self._commits.submit(fn, deadline)
        return result

    def claim_delivery(self) -> bool:
        """See `contract.Store`: a lock on `<database>-relay-lock`."""
        return self._files.claim_delivery()

    def seconds_since_commit(self) -> float:
        """See `contract.Store`."""
        return time.monotonic() - self._committed_at

    def writes_in_hand(self) -> int:
        """See `contract.Store`."""
        return self._commits.in_hand()

    def check(self) -> Iterator[str]:
        """See `contract.Store`; what is checked, and what that costs: `integrity.findings`."""

        def rows(sql: str) -> list[Row]:
            deadline = time.monotonic() + REQUEST_TIME_S
            return self._read(lambda connection: connection.rows(sql, {}), deadline)

        return integrity.findings(rows, sqlite_start.schema_of(self._known), self._known[-1].number)

    def backup(self, target: Path, on_progress: Callable[[int, int], None]) -> None:
        """See `contract.Store`; what it costs: `sqlite_copy.copy`."""
        deadline = time.monotonic() + REQUEST_TIME_S
        self._read(lambda connection: copy(connection, target, on_progress), deadline)

    def close(self) -> None:
        """See `contract.Store`."""
        drain_has_ended = self._commits.close()
        while self._idle_readers:
            self._idle_readers.pop().close()
        if not drain_has_ended:
            return  # What it still holds must not be closed under its hands.
        if self._write_connection is not None:
            self._write_connection.close()
            self._write_connection = None
        self._files.close()

    # Reading: on the thread that asks.

    def _read(self, fn: Callable[[Connection], T], deadline: float) -> T:
        # SQLite would wait inside C and stop an event loop; so we wait here. Only who keeps all
        # others out makes readers wait: those share PATIENCE_S, or each would hold its thread.
        began_at = time.monotonic()
        since, seen_at = self._shut_out
        if began_at - seen_at > PATIENCE_S:
            since = began_at
        try:
            give_up_at = min(deadline, since + PATIENCE_S)
            return until(give_up_at, lambda: self._read_once(fn), time.sleep)
        except OUR_FAULTS:
            raise
        except DRIVER_ERRORS as error:
            if is_busy(error):
                self._shut_out = since, time.monotonic()
            raise unavailable(error) from error

    def _read_once(self, fn: Callable[[Connection], T]) -> T:
        connection = self._take_reader()
        try:
            connection.execute("BEGIN")
            result = fn(connection)
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.close()
            raise
        except BaseException:
            # Of ours, as a conflict is; opening is slow, and may hang where reading does not.
            connection.execute("ROLLBACK")
            self._idle_readers.append(connection)
            raise
        self._idle_readers.append(connection)
        return result

    def _take_reader(self) -> Connection:
        self._refuse_other_process()
        self._files.identity()
        with suppress(IndexError):  # none is idle
            return self._idle_readers.pop()
        return self._open(query_only=True)

    # Writing: on the drain's thread, and what may block there natively; under the lock between
    # processes.

    def _commit(self, batch: Batch, natively: Natively) -> bool:
        """Run a batch's jobs, whatever becomes of them, and tell whether a checkpoint is due."""
        with self._sole_writer(natively):
            jobs = batch.take()
            if not jobs:
                return False
            try:
                runs = self._transact(jobs, natively)
            except DRIVER_ERRORS as error:
                runs = [Run(error=unavailable(error))] * len(jobs)
            except StoreUnavailable as error:
                runs = [Run(error=error)] * len(jobs)
        # No outcome leaves before the COMMIT, refusals and replays included.
        for job, run in zip(jobs, runs, strict=True):
            job.end(run.result, run.error)
        return self._checkpointer.is_due(sum(run.has_written for run in runs))

    def _transact(self, jobs: list[Job], natively: Natively) -> list[Run]:
        """Run all jobs in one transaction and tell how each run ended.

        BEGIN and COMMIT wait for others no longer than the oldest job's request does.
        """
        deadline = jobs[0].deadline
        connection = until(deadline, lambda: self._current_write_connection(natively), time.sleep)
        try:
            until(deadline, lambda: connection.execute("BEGIN IMMEDIATE"), time.sleep)
            runs = [run_in_savepoint(job, connection) for job in jobs]
            if any(run.has_written for run in runs):
                natively(lambda: self._commit_durably(connection, deadline))
            else:
                connection.execute("ROLLBACK")
        except BaseException as error:
            self._undo(connection, error)
            raise
        return runs

    def _commit_durably(self, connection: Connection, deadline: float) -> None:
        until(deadline, lambda: connection.execute("COMMIT"), native_sleep)
        # The next writer need not wait until this thread's outcome is noticed.
        self._files.unlock()
        # A file that has left meanwhile took the orders along.
        self._files.identity()
        self._committed_at = time.monotonic()

    def _undo(self, connection: Connection, error: BaseException) -> None:
        """Roll back. A connection whose driver failed is not used again: its state is unknown."""
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if isinstance(error, DRIVER_ERRORS):
            connection.close()
            self._write_connection = None

    def _checkpoint(self) -> None:
        """Checkpoint between two batches, under the lock; if that fails, it fails nobody."""
        with suppress(StoreUnavailable, *DRIVER_ERRORS), self._sole_writer(lambda act: act()):
            if self._write_connection is not None:
                self._checkpointer.checkpoint(self._write_connection.execute)

    @contextmanager
    def _sole_writer(self, natively: Natively) -> Iterator[None]:
        """Hold the lock between processes, and that this process has one writer at a time."""
        if not self._is_writing.acquire(blocking=False):
            raise RuntimeError("two writers in one process")
        try:
            if not self._files.try_lock():
                natively(self._files.lock)
            try:
                yield
            finally:
                self._files.unlock()
        finally:
            self._is_writing.release()

    def _current_write_connection(self, natively: Natively) -> Connection:
        self._files.identity()
        if self._write_connection is None:
            self._write_connection = natively(self._open)
        return self._write_connection

    # Opening.

    def _refuse_other_process(self) -> None:
        """Hold that no connection crosses a fork: SQLite's locks would be lost."""
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise RuntimeError("the store was opened before a fork")

    def _open(self, *, query_only: bool = False) -> Connection:
        """Open a database that exists; one that vanished is never made anew behind its clients."""
        identity = self._files.identity()
        connection = Connection(self._files.path, self._mode)
        try:
            if query_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                # A file for what a savepoint may put back costs a third more, and can be full.
                connection.execute("PRAGMA temp_store = MEMORY")
            # From its first statement on the connection holds a lock that keeps a restore away.
            sqlite_start.refuse_unprepared(connection, self._known)
            if self._files.identity() != identity:
                raise StoreUnavailable("database file: another one has come into its place")
            if self._mode == "rw":
                self._files.sync_wal()
        except BaseException:
            connection.close()
            raise
        self._files.use(identity)
        return connection
