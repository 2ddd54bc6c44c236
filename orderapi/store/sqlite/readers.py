"""Reading: on the thread of the caller, through connections that cannot write."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from orderapi.store.contract import REQUEST_TIME_S, deadline_of
from orderapi.store.sqlite.connection import (
    DRIVER_ERRORS,
    OUR_FAULTS,
    Connection,
    is_busy,
    retry_while_busy,
    store_unavailable,
)
from orderapi.store.sqlite.database import Database
from orderapi.store.statements.transaction import ReadTx

T = TypeVar("T")

# Runs a unit of work on a connection, and returns its result.
Act = Callable[[Connection, Callable[[Any], Any]], Any]

# A program that locks the database exclusively makes every reader wait. All readers of this process
# share this time. Otherwise each reader would wait for the whole time, one after the other.
LOCKED_OUT_MAX_S = 1.0
assert LOCKED_OUT_MAX_S < REQUEST_TIME_S


class Readers:
    """The read connections of one process to one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Append and pop are atomic. The last one in the list was used last, so its cache is warm.
        self._idle: list[Connection] = []
        # When readers were locked out, and when a reader was last refused for that reason.
        self._locked_out = (float("-inf"), float("-inf"))

    def run(self, fn: Callable[[Connection], T], deadline: float | None = None) -> T:
        """Run `fn` on one snapshot.

        `deadline` is a time of `time.monotonic()` in seconds. The default is REQUEST_TIME_S after
        the call. Raises StoreUnavailable if the database cannot be read by then.
        """
        return self._run(_run_in_transaction, fn, deadline)

    def run_one(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """Run `fn`, which runs one statement at most, and so needs no transaction around it.

        Raises StoreUnavailable as `run` does, and RuntimeError if `fn` ran several statements.
        """
        return self._run(_run_in_one_statement, fn, deadline)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _run(self, act: Act, fn: Callable[[Any], T], deadline: float | None) -> T:
        try:
            return self._run_once(act, fn)
        except OUR_FAULTS:
            raise
        except DRIVER_ERRORS as error:
            if not is_busy(error):
                raise store_unavailable(error) from error
        return self._run_when_free(act, fn, deadline)

    def _run_when_free(self, act: Act, fn: Callable[[Any], T], deadline: float | None) -> T:
        """Run `fn`, and retry it while another program locks readers out of the database."""
        began_at = time.monotonic()
        since, refused_at = self._locked_out
        if began_at - refused_at > LOCKED_OUT_MAX_S:
            since = began_at
        try:
            # SQLite itself would wait inside C, and that would stop an event loop.
            give_up_at = min(deadline_of(deadline), since + LOCKED_OUT_MAX_S)
            result: T = retry_while_busy(give_up_at, lambda: self._run_once(act, fn), time.sleep)
        except OUR_FAULTS:
            raise
        except DRIVER_ERRORS as error:
            if is_busy(error):
                self._locked_out = since, time.monotonic()
            raise store_unavailable(error) from error
        return result

    def _run_once(self, act: Act, fn: Callable[[Any], T]) -> T:
        connection = self._take()
        try:
            result: T = act(connection, fn)
            if connection.stamp is not None and connection.stamp != self._database.files.stamp():
                # Another process has written meanwhile, and this connection holds no lock.
                connection.close()
                return self._run_once(act, fn)
        except sqlite3.Error:
            connection.close()
            raise
        except BaseException:
            # This error is our own, for example a conflict. The connection is kept, because to open
            # one is slow, and may hang where to read does not.
            self._put_back(connection)
            raise
        self._put_back(connection)
        return result

    def _put_back(self, connection: Connection) -> None:
        if connection.is_for_one_read:
            connection.close()
        else:
            self._idle.append(connection)

    def _take(self) -> Connection:
        self._database.refuse_other_process()
        self._database.files.identity()
        with suppress(IndexError):  # no connection is idle
            connection = self._idle.pop()
            if connection.stamp is None or connection.stamp == self._database.files.stamp():
                return connection
            connection.close()
        return self._database.open_reader()


def _run_in_transaction(connection: Connection, fn: Callable[[Connection], T]) -> T:
    connection.execute("BEGIN")
    try:
        result = fn(connection)
        connection.execute("COMMIT")
    except sqlite3.Error:
        raise
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return result


def _run_in_one_statement(connection: Connection, fn: Callable[[ReadTx], T]) -> T:
    before = connection.statements
    result = fn(connection.tx)
    if connection.statements - before > 1:
        raise RuntimeError("a unit of work of one statement ran several")
    return result
