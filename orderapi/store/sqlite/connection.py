"""One connection to a SQLite file: its settings, and how errors of the driver become ours.

With a WAL and `synchronous=FULL`, a COMMIT returns after the fsync of the WAL
(sqlite.org/pragma.html#pragma_synchronous).
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from orderapi.errors import StoreCorrupt, StoreFailure, StoreUnavailable
from orderapi.store.sqlite.checkpoint import WAL_MAX_BYTES
from orderapi.store.statements.execution import Parameters, Row
from orderapi.store.statements.transaction import ReadTx

T = TypeVar("T")

# The driver raises these for bugs of this program, and not for failures of the disk.
OUR_FAULTS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)
# SQLite's message may quote a damaged schema. The driver may then fail to decode the message.
DRIVER_ERRORS = (sqlite3.Error, UnicodeDecodeError)
# The pause before a statement that found the database locked is retried.
BUSY_PAUSE_S = 0.01

_OWN_MODES = {"immutable": "mode=ro&immutable=1", "ro-index": "mode=ro&readonly_shm=1"}
# SQLITE_ERROR means that a statement cannot be prepared, because a table or a column is missing.
_FOREIGN = ("SQLITE_NOTADB", "SQLITE_ERROR")


class Connection(sqlite3.Connection):
    """A connection with our settings. Any thread may use it, but only one at a time.

    `mode` is a mode of `file_uri`. `busy_timeout_s` is how many seconds SQLite itself waits for the
    locks of others, inside C.
    """

    def __init__(self, path: Path, mode: str, *, busy_timeout_s: float = 0.0) -> None:
        super().__init__(
            file_uri(path, mode),
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        self.create_function("lease_clock_ms", 0, _boot_time_ms)
        # The statements that read, which are made once, and how many have run.
        self.tx = ReadTx(self.rows)
        self.statements = 0
        # What the database file was like when this connection began to read it without any lock.
        self.stamp: tuple[int, ...] | None = None
        # Whether the connection must be closed as soon as it has been used once.
        self.is_for_one_read = False
        try:
            self.execute("PRAGMA synchronous = FULL")
            self.execute("PRAGMA foreign_keys = ON")
            self.execute("PRAGMA wal_autocheckpoint = 0")
            self.execute(f"PRAGMA journal_size_limit = {WAL_MAX_BYTES}")
        except DRIVER_ERRORS as error:
            # SQLite shares the index of the WAL among the connections of a process. As long as this
            # connection lives, another one cannot open the index in another way. On a damaged
            # database it is not closed, because SQLite would then write the WAL into it.
            if store_unavailable(error).kind is StoreFailure.TEMPORARY:
                self.close()
            raise

    def value(self, sql: str) -> object:
        """Run a statement, and return the one value that it gives."""
        value: object = self.execute(sql).fetchone()[0]
        return value

    def size_bytes(self) -> int:
        """Return the size of the database in bytes, as this connection sees it."""
        ((size_bytes,),) = self.rows(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", {}
        )
        return int(size_bytes)

    def rows(self, sql: str, parameters: Parameters) -> list[Row]:
        """Run a statement, and return all of its rows."""
        self.statements += 1
        return self.execute(sql, parameters).fetchall()

    def rows_in_transaction(self, sql: str, parameters: Parameters) -> list[Row]:
        """Run a statement inside a transaction.

        Raises StoreUnavailable if a failure has rolled back the transaction, because the statement
        would then commit alone.
        """
        self.refuse_autocommit()
        return self.rows(sql, parameters)

    def refuse_autocommit(self) -> None:
        """Raise StoreUnavailable if no transaction is open, because SQLite has ended it."""
        if not self.in_transaction:
            raise StoreUnavailable("SQLite has ended the transaction after an error")


def _boot_time_ms() -> int:
    """Return the time since the machine was started, in milliseconds.

    All processes with one database are on one machine. This clock cannot be set, and it also runs
    while the machine or a process is suspended.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def file_uri(path: Path, mode: str) -> str:
    """Name a file to SQLite (sqlite.org/uri.html).

    `mode` is `ro`, `rw`, `rwc` or `memory`, or one of two modes of our own. Only `rwc` makes a
    database. `immutable` reads a file that nobody writes: without locks, without its WAL, and
    without any file beside it. `ro-index` has the index of the WAL in memory.
    """
    parameters = _OWN_MODES.get(mode, f"mode={mode}")
    return f"file:{quote(os.fsencode(path.absolute()))}?{parameters}"


def retry_while_busy(deadline: float, act: Callable[[], T], pause: Callable[[float], None]) -> T:
    """Run `act`, and retry it while others hold the lock of the database, until the deadline.

    `deadline` is a time of `time.monotonic()` in seconds. `pause` sleeps for some seconds, in the
    way that suits the thread of the caller. Raises what the last run of `act` raised.
    """
    while True:
        try:
            return act()
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        # SQLite does not wait in every case by itself, for example while another process recovers
        # the WAL.
        pause(BUSY_PAUSE_S)


def is_busy(error: Exception) -> bool:
    """Tell whether a retry may succeed in a moment, because only a lock was missing."""
    return getattr(error, "sqlite_errorname", "").startswith(
        ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
    )


def store_unavailable(error: Exception) -> StoreUnavailable:
    """Translate an error of the driver into ours, by its name and never by its message."""
    name = getattr(error, "sqlite_errorname", None)
    # A name is missing where a text is not UTF-8, in a row or in SQLite's own message.
    if name is None or name.startswith("SQLITE_CORRUPT"):
        return StoreCorrupt(reason(error))
    if name.startswith(_FOREIGN):
        return StoreCorrupt(reason(error), StoreFailure.FOREIGN)
    return StoreUnavailable(reason(error))


def error_for_caller(error: BaseException) -> BaseException:
    """Return what a caller should see: StoreUnavailable for a failure of the disk, else `error`."""
    if isinstance(error, OUR_FAULTS) or not isinstance(error, DRIVER_ERRORS):
        return error
    return store_unavailable(error)


def reason(error: Exception) -> str:
    """Return the name of an error of the driver and its message, for the log."""
    return f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"
