"""One connection to PostgreSQL: how it waits, how it is dropped, and how it runs a statement.

No write is ever cancelled. A COMMIT that waits for a standby and is cancelled reports success,
although the standby may never get it. So a caller whose deadline has come closes the socket, and
the outcome is then unknown. A read has a time limit that the server enforces.
"""

import os
import re
import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import tuple_row

from orderapi.store.native import has_event_loop
from orderapi.store.statements.execution import Parameters, Row

T = TypeVar("T")

_READY = psycopg.waiting.Ready
_EVENTS = {
    psycopg.waiting.Wait.R: select.POLLIN,
    psycopg.waiting.Wait.W: select.POLLOUT,
    psycopg.waiting.Wait.RW: select.POLLIN | select.POLLOUT,
}
_MARKER = re.compile(r"\?|(?<!:):([a-z_][a-z_0-9]*)|%")
_WRITES = ("INSERT ", "UPDATE ", "DELETE ")
# A standby refuses this, and PgBouncer may have put one in the place of the primary.
_ON_PRIMARY = "SET TRANSACTION READ WRITE"
# The server ends a read, or a wait for a lock, this number of seconds before the deadline.
ANSWER_MARGIN_S = 0.2


class DeadlinePassed(psycopg.OperationalError):
    """The server has not answered by the deadline."""


class Connection(psycopg.Connection[Row]):
    """A connection that waits until its deadline, and lets an event loop run meanwhile.

    `deadline` is a time of `time.monotonic()` in seconds. It must be set before each use.
    """

    def __init__(self, pgconn: PGconn, row_factory: Any = tuple_row) -> None:
        super().__init__(pgconn, row_factory)
        self.deadline = 0.0
        # The index of its server in the URL.
        self.server = 0
        # The notices and warnings that the server has sent. After one, no transaction is a success.
        self.notices: list[str] = []
        # How many statements have run, and whether one of them has changed a row.
        self.statements = 0
        self.has_written = False
        notices = self.notices
        self.add_notice_handler(
            lambda notice: notices.append(f"{notice.sqlstate}: {notice.message_primary}")
        )

    def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Drive a generator of the driver until it ends.

        The driver's own method waits without a limit, and it cancels a query when it is
        interrupted. Raises DeadlinePassed if the server has not answered by the deadline. The
        connection is then dropped.
        """
        del interval, timeout  # the deadline replaces both
        try:
            return _drive(gen, self.pgconn.socket, self.deadline)
        except BaseException:
            # The deadline has passed, the request was killed, or the process is interrupted.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.drop()
            raise

    def rows(self, sql: str, parameters: Parameters) -> list[Row]:
        """Run a statement of `store.statements`, and return all of its rows."""
        cursor = self.execute(translate_markers(sql), parameters, prepare=False)
        self.statements += 1
        if cursor.rowcount > 0 and (cursor.statusmessage or "").startswith(_WRITES):
            self.has_written = True
        return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []

    def remaining_ms(self) -> int:
        """Return how many milliseconds the server may take, so that it answers by the deadline."""
        return max(1, int((self.deadline - time.monotonic() - ANSWER_MARGIN_S) * 1000))

    def read_one(self, sql: str, parameters: Parameters) -> list[Row]:
        """Run a statement as a transaction of its own, and return all of its rows.

        The server ends it by the deadline, and the connection can then be used again. A server
        that has become a standby refuses it with the SQLSTATE 0A000. It takes one round trip,
        because the statements of one message are one transaction. No message with several
        statements has parameters, so they are written into the statement.
        """
        cursor = psycopg.ClientCursor(self)
        statement = cursor.mogrify(translate_markers(sql), parameters)
        limit = f"SET LOCAL statement_timeout = {self.remaining_ms()}"
        cursor.execute(f"{_ON_PRIMARY}; {limit}; {statement}".encode())
        self.statements += 1
        while cursor.nextset():
            pass
        return cursor.fetchall()

    def is_idle(self) -> bool:
        """Tell whether the connection is open, and no transaction of it is."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    def roll_back(self) -> None:
        """End a transaction without its changes. The connection is dropped if this fails."""
        try:
            self.execute("ROLLBACK")
        except psycopg.Error:
            self.drop()

    def drop(self) -> None:
        """Close the socket without a message to the server, which finishes its statement."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.pgconn.socket)) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)
        self.close()


@lru_cache(maxsize=512)
def translate_markers(sql: str) -> str:
    """Write the markers of a statement's parameters as psycopg expects them.

    `?` becomes `%s`, `:name` becomes `%(name)s`, and a percent sign is doubled.
    """
    return _MARKER.sub(_driver_marker, sql)


def replace_unsendable(parameters: Parameters) -> Parameters:
    """Put NULL in the place of each text that PostgreSQL cannot store.

    Such a text has a NUL character or a lone surrogate, so no stored text is equal to it.
    """
    if isinstance(parameters, Mapping):
        return {name: _value_or_null(value) for name, value in parameters.items()}
    return [_value_or_null(value) for value in parameters]


def refuse_blocking_wait() -> None:
    """Raise RuntimeError if a wait for PostgreSQL would stop the event loop of this process.

    The driver keeps a reference to what it found when it was imported. So gevent must have patched
    the standard library before that.
    """
    if has_event_loop():
        driver = vars(psycopg.waiting)["DefaultSelector"], vars(psycopg.connection)["Lock"]
        if not all(part.__module__.startswith("gevent") for part in (select.poll, *driver)):
            raise RuntimeError("psycopg was imported before gevent patched the standard library")


def _drive(gen: PQGen[T], descriptor: int, deadline: float) -> T:
    try:
        wanted = next(gen)
        poll = select.poll()
        while True:
            poll.register(descriptor, _EVENTS[wanted])
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise DeadlinePassed("the server has not answered by the deadline")
            events = poll.poll(remaining_s * 1000 + 1)
            wanted = gen.send(_readiness(events[0][1]) if events else _READY.NONE)
    except StopIteration as ended:
        result: T = ended.value
        return result


def _readiness(events: int) -> Any:
    if events & ~(select.POLLIN | select.POLLOUT):
        return _READY.RW  # the socket has failed: the driver finds out why
    readable = _READY.R if events & select.POLLIN else _READY.NONE
    return readable | (_READY.W if events & select.POLLOUT else _READY.NONE)


def _driver_marker(marker: re.Match[str]) -> str:
    if marker[0] == "%":
        return "%%"
    return "%s" if marker[0] == "?" else f"%({marker[1]})s"


def _value_or_null(value: object) -> object:
    is_sendable = not isinstance(value, str) or (
        "\0" not in value and value.encode(errors="replace").decode() == value
    )
    return value if is_sendable else None
