"""Writing: batches of jobs, each in one durable transaction, under the lock between processes.

Everything here runs on the thread (under gevent: in the greenlet) of the drain. A call that may
block without a time-out is passed to `run_natively`.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from orderapi.errors import StoreUnavailable
from orderapi.store.commit_stats import CommitStats
from orderapi.store.group_commit import GroupCommit
from orderapi.store.jobs import Batch, Job, RunNatively, find_nothing
from orderapi.store.native import native_lock, native_sleep
from orderapi.store.sqlite.checkpoint import Checkpointer
from orderapi.store.sqlite.connection import (
    DRIVER_ERRORS,
    Connection,
    retry_while_busy,
    store_unavailable,
)
from orderapi.store.sqlite.database import Database
from orderapi.store.sqlite.savepoint import Run, run_in_savepoint
from orderapi.store.statements.transaction import WriteTx


class Writer:
    """The one write connection of one process to one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._files = database.files
        self._commits = GroupCommit(self._commit, self._checkpoint)
        self._connection: Connection | None = None
        self._is_writing = native_lock()
        self._checkpointer = Checkpointer()
        self.stats = CommitStats()

    def run(
        self,
        fn: Callable[[Any], Any],
        deadline: float,
        look_up: Callable[[], Any] = find_nothing,
    ) -> Any:
        """Run `fn` in one durable transaction, which it shares with other writes that wait.

        `deadline` is a time of `time.monotonic()` in seconds. `look_up` has the meaning that it has
        in `GroupCommit.submit`. Raises StoreUnavailable if the outcome is not known by then.
        """
        self._database.refuse_other_process()
        return self._commits.submit(fn, deadline, look_up)

    def in_hand(self) -> int:
        """Return how many writes wait for their commit."""
        return self._commits.in_hand()

    def stop(self) -> bool:
        """Refuse new writes, wait for the queued ones, and tell whether they have ended.

        They have not ended if the disk or a lock hangs.
        """
        return self._commits.close()

    def close(self) -> None:
        """Close the write connection, once everything has ended."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, batch: Batch, run_natively: RunNatively) -> bool:
        """Run the jobs of a batch, note how each ended, and tell whether a checkpoint is due."""
        began_at = time.monotonic()
        with self._hold_write_lock(run_natively):
            self.stats.note_lock_wait(time.monotonic() - began_at)
            jobs = batch.take()
            if not jobs:
                return False
            try:
                runs = self._transact(jobs, run_natively)
            except DRIVER_ERRORS as error:
                runs = [Run(error=store_unavailable(error))] * len(jobs)
            except StoreUnavailable as error:
                runs = [Run(error=error)] * len(jobs)
        # No outcome leaves the batch before its COMMIT. This includes refusals and replays.
        for job, run in zip(jobs, runs, strict=True):
            job.end(run.result, run.error)
        return self._checkpointer.is_due(sum(run.has_written for run in runs))

    def _transact(self, jobs: list[Job], run_natively: RunNatively) -> list[Run]:
        """Run all jobs in one transaction, and return how each of them ended.

        BEGIN and COMMIT wait for other processes until the deadline of the oldest job.
        """
        deadline = jobs[0].deadline
        connection = retry_while_busy(
            deadline, lambda: self._current_connection(run_natively), time.sleep
        )
        try:
            retry_while_busy(deadline, lambda: connection.execute("BEGIN IMMEDIATE"), time.sleep)
            tx = WriteTx(connection.rows_in_transaction)
            runs = [run_in_savepoint(job, connection, tx) for job in jobs]
            writes = sum(run.has_written for run in runs)
            if writes:
                began_at = time.monotonic()
                run_natively(lambda: self._commit_durably(connection, deadline))
                self.stats.note_batch(writes, time.monotonic() - began_at)
            else:
                connection.execute("ROLLBACK")
        except BaseException as error:
            self._undo(connection, error)
            raise
        return runs

    def _commit_durably(self, connection: Connection, deadline: float) -> None:
        retry_while_busy(deadline, lambda: connection.execute("COMMIT"), native_sleep)
        # The lock is released here, so that the next writer does not wait for the event loop.
        self._files.lock.release()
        # If a file was moved away or deleted meanwhile, the orders are not in the database.
        self._files.refuse_unsafe_write()
        self.stats.note_commit()

    def _undo(self, connection: Connection, error: BaseException) -> None:
        """Roll back. After a driver error, close the connection, because its state is unknown."""
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if isinstance(error, DRIVER_ERRORS):
            connection.close()
            self._connection = None

    def _checkpoint(self) -> None:
        """Make a checkpoint between two batches, under the lock. If it fails, no job fails."""
        with suppress(StoreUnavailable, *DRIVER_ERRORS), self._hold_write_lock(lambda act: act()):
            if self._connection is not None:
                self._checkpointer.checkpoint(self._connection.execute)

    @contextmanager
    def _hold_write_lock(self, run_natively: RunNatively) -> Iterator[None]:
        """Hold the lock between processes. Raises RuntimeError if this process writes already."""
        if not self._is_writing.acquire(blocking=False):
            raise RuntimeError("two writers in one process")
        try:
            if not self._files.lock.try_take():
                run_natively(self._files.lock.take)
            try:
                yield
            finally:
                self._files.lock.release()
        finally:
            self._is_writing.release()

    def _current_connection(self, run_natively: RunNatively) -> Connection:
        if self._connection is None:
            self._connection = run_natively(self._database.open_writer)
        self._files.refuse_unsafe_write()
        return self._connection
