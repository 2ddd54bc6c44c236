"""The rare writes, which run statement by statement: each of them is a transaction of its own.

Everything here runs on the thread (under gevent: in the greenlet) of the drain.
"""

import time
from collections.abc import Callable
from typing import Any

import psycopg

from orderapi.errors import StoreUnavailable
from orderapi.store.commit_stats import CommitStats
from orderapi.store.jobs import NOT_BEGUN, Job
from orderapi.store.postgres.connection import Connection
from orderapi.store.postgres.failures import Verdict, store_unavailable, verdict_on
from orderapi.store.postgres.primary import Primary
from orderapi.store.postgres.queue import Queue
from orderapi.store.postgres.session import RETRY_PAUSE_S, failure_of_warning, is_lasting
from orderapi.store.statements.transaction import WriteTx

# The isolation level is that of `place_orders_v1`, and for the same reason. All settings end with
# the transaction. They go in one round trip.
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on;"
    " SET LOCAL client_min_messages = notice; SET LOCAL lock_timeout = {lock_timeout_ms}"
)
_LOCK = "SELECT lock_id FROM write_lock FOR UPDATE"


class Writes:
    """The writes of this process that are not orders, through one connection."""

    def __init__(self, primary: Primary, stats: CommitStats) -> None:
        self._primary = primary
        self._stats = stats
        self.queue = Queue(primary, self._run_all)

    def run(self, fn: Callable[[WriteTx], Any], deadline: float) -> Any:
        """Run `fn` in a durable transaction.

        Raises StoreUnavailable if the outcome is not known by the deadline.
        """
        return self.queue.submit(fn, deadline)

    def _run_all(self, jobs: list[Job]) -> None:
        for job in jobs:
            try:
                job.end(self._run(job))
            except BaseException as error:
                job.end(error=error)

    def _run(self, job: Job) -> Any:
        """Run one job. It is run again after a failure that has certainly undone it."""
        while True:
            try:
                return self._attempt(job)
            except psycopg.Error as error:
                verdict = verdict_on(error)
                if verdict is Verdict.RECONNECT:
                    self._primary.drop()
                if verdict is Verdict.BAD_ROW:
                    raise
                if verdict is Verdict.REFUSED or not _has_time(job):
                    raise store_unavailable(error) from error
            except _CannotConnect as error:
                if is_lasting(error.reason) or not _has_time(job):
                    raise error.reason from error
            time.sleep(RETRY_PAUSE_S)

    def _attempt(self, job: Job) -> Any:
        """Run one transaction. A psycopg.Error means that it was certainly not committed."""
        if job.is_gone:
            raise StoreUnavailable(NOT_BEGUN)
        connection = self._take_connection(job.deadline)
        _begin(connection)
        try:
            result = job.work(WriteTx(connection.rows, lambda: _lock(connection)))
        except BaseException:
            connection.roll_back()
            raise
        self._commit_durably(connection)
        return result

    def _take_connection(self, deadline: float) -> Connection:
        try:
            connection = self._primary.connection(deadline)
        except StoreUnavailable as error:
            raise _CannotConnect(error) from error
        if time.monotonic() >= deadline:
            # A statement without time would end the connection, which the next write needs.
            raise _CannotConnect(StoreUnavailable("a connection was opened too late"))
        return connection

    def _commit_durably(self, connection: Connection) -> None:
        began_at = time.monotonic()
        try:
            tag = connection.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            if verdict_on(error) is not Verdict.RECONNECT:
                raise
            self._primary.drop()
            # The server may have committed. Then `fn` must not run a second time.
            raise store_unavailable(error) from error
        if connection.notices:
            self._primary.drop()
            raise failure_of_warning(connection)
        if tag != "COMMIT":
            raise RuntimeError("a unit of work ran a statement after one of its statements failed")
        if connection.has_written:
            self._stats.note_commit()
            self._stats.note_batch(1, time.monotonic() - began_at)


class _CannotConnect(Exception):
    """No connection could be opened; `reason` is the failure for the caller."""

    def __init__(self, reason: StoreUnavailable) -> None:
        super().__init__(reason.reason)
        self.reason = reason


def _begin(connection: Connection) -> None:
    connection.execute(_BEGIN.format(lock_timeout_ms=connection.remaining_ms()).encode())


def _lock(connection: Connection) -> None:
    """Wait until this transaction is the only one that numbers orders and events."""
    if not connection.rows(_LOCK, ()):
        raise StoreUnavailable("the table write_lock has no row; insert the row with lock_id = 1")


def _has_time(job: Job) -> bool:
    return time.monotonic() + RETRY_PAUSE_S < job.deadline
