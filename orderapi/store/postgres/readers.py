"""Reading: on the thread of the caller, through a few connections that this process shares."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import psycopg

from orderapi.store.contract import ANSWER_MAX_S, REQUEST_TIME_S, deadline_of
from orderapi.store.postgres.connection import Connection, replace_unsendable
from orderapi.store.postgres.failures import Verdict, store_unavailable, verdict_on
from orderapi.store.postgres.pool import Pool
from orderapi.store.statements.execution import Parameters, Row
from orderapi.store.statements.transaction import ReadTx

T = TypeVar("T")
_Read = Callable[[str, Parameters], list[Row]]

# The connections of a process for reading. A read takes less than a millisecond, and a server has a
# hundred connections by default.
CONNECTIONS_MAX = 4
# A read gets at least this time, even if its deadline is earlier, because a round trip takes time.
READ_MIN_S = 1.0
assert REQUEST_TIME_S + READ_MIN_S < ANSWER_MAX_S

# A standby refuses a transaction that may write. This one may not, from its next statement on.
# The server ends each statement by its time limit, because a session that waits for a lock does not
# notice that its connection was closed. Without the limit, such sessions would accumulate.
_BEGIN = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET TRANSACTION READ ONLY;"
    " SET LOCAL statement_timeout = {remaining_ms}"
)


class Readers:
    """The reading of one process from one database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def run(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """Run `fn` on one snapshot.

        `deadline` is a time of `time.monotonic()` in seconds. The default is REQUEST_TIME_S after
        the call. Raises StoreUnavailable if the database cannot be read by then. A server that
        cannot be reached is tried again until then.
        """
        return self._run(partial(_run_in_transaction, fn), deadline)

    def run_one(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """Run `fn`, which runs one statement at most, and so needs no transaction around it.

        Raises StoreUnavailable as `run` does, and RuntimeError if `fn` ran several statements.
        """
        return self._run(partial(_run_in_one_statement, fn), deadline)

    def rows(self, sql: str, deadline: float | None = None) -> list[Row]:
        """Run a statement that only this engine has. Raises StoreUnavailable as `run` does."""
        return self._run(lambda connection: connection.read_one(sql, ()), deadline)

    def _run(self, act: Callable[[Connection], T], deadline: float | None) -> T:
        deadline = max(deadline_of(deadline), time.monotonic() + READ_MIN_S)
        while True:
            connection = self._pool.take(deadline)
            connection.deadline = deadline
            try:
                return act(connection)
            except psycopg.Error as error:
                verdict = verdict_on(error)
                if verdict is Verdict.BAD_ROW:
                    raise
                if verdict is Verdict.RECONNECT:
                    connection.drop()
                    self._pool.discard_idle()
                if verdict is Verdict.REFUSED or time.monotonic() >= deadline:
                    raise store_unavailable(error) from error
            finally:
                self._pool.put_back(connection)


def _run_in_transaction(fn: Callable[[ReadTx], T], connection: Connection) -> T:
    connection.execute(_BEGIN.format(remaining_ms=connection.remaining_ms()).encode())
    try:
        result = fn(ReadTx(_skip_unsendable(connection.rows)))
        connection.execute("COMMIT")
    except BaseException:
        connection.roll_back()
        raise
    return result


def _run_in_one_statement(fn: Callable[[ReadTx], T], connection: Connection) -> T:
    before = connection.statements
    result = fn(ReadTx(_skip_unsendable(connection.read_one)))
    if connection.statements - before > 1:
        raise RuntimeError("a unit of work of one statement ran several")
    return result


def _skip_unsendable(read: _Read) -> _Read:
    """Let a statement find nothing where it compares with a text that cannot be sent."""

    def rows(sql: str, parameters: Parameters) -> list[Row]:
        try:
            return read(sql, parameters)
        except (psycopg.DataError, UnicodeEncodeError) as error:
            if getattr(error, "sqlstate", None) is not None:
                raise
            return read(sql, replace_unsendable(parameters))

    return rows
