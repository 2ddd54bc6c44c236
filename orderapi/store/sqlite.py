"""The SQLite engine: connections, transactions, checkpoints, and its errors made ours.

WAL and `synchronous=FULL`: a COMMIT returns after fsync of the WAL (sqlite.org/pragma.html).
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from orderapi.errors import StoreCorrupt, StoreRefused, StoreUnavailable
from orderapi.store import integrity, migrate
from orderapi.store.checkpoint import Checkpointer
from orderapi.store.contract import REQUEST_TIME_S
from orderapi.store.files import DatabaseFiles
from orderapi.store.tx import Execute, ReadTx, Row, WriteTx
from orderapi.store.writer import Job, Writer

T = TypeVar("T")

# "ORDA": marks the database file as ours (sqlite.org/fileformat.html, offset 68).
APPLICATION_ID = 0x4F524441
START_LOCK_TIMEOUT_S = 30.0
# A corrupt small database stops the start; reading a large one would take longer than a start may.
QUICK_CHECK_MOST_BYTES = 128 * 1024 * 1024
# STRICT tables came with SQLite 3.37.
SQLITE_OLDEST = (3, 37, 0)

_BUSY_PAUSE_S = 0.01
_WRITER_BUSY_TIMEOUT_S = 0.1
_WAL_MOST_BYTES = 64 * 1024 * 1024
# What the driver raises for mistakes of this program, not of the disk.
_OUR_FAULTS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)
# A damaged schema is quoted in SQLite's message, which the driver may then fail to decode.
_DRIVER_ERRORS = (sqlite3.Error, UnicodeDecodeError)
# SQLITE_ERROR is a statement that cannot be prepared: a table or a column is gone.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")


class SqliteStore:
    """A store in one SQLite file; see `contract.Store`.

    `waiting_when_stuck` is how many requests of this process may wait for a store that does
    nothing; the rest are refused at once, so that reads go on. With `read_only` the file is opened
    for reading alone.
    """

    def __init__(
        self, path: Path, *, waiting_when_stuck: int = 16, read_only: bool = False
    ) -> None:
        self._read_only = read_only
        self._files = DatabaseFiles(path)
        self._uri = f"file:{quote(str(path.absolute()))}"
        self._known = migrate.load("sqlite")
        self._writer = Writer(self._files.locked, self._run, waiting_when_stuck=waiting_when_stuck)
        self._write_connection: _Connection | None = None
        self._checkpointer = Checkpointer()
        # Idle read connections: append and pop are atomic, and the newest is the warmest.
        self._idle_readers: list[_Connection] = []
        self._pid: int | None = None
        self._committed_at = float("-inf")

    def prepare(self) -> None:
        """See `contract.Store`: make the database, or bring its schema up to date."""
        if sqlite3.sqlite_version_info < SQLITE_OLDEST:
            raise StoreRefused(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is needed")
        path = self._files.path
        if not path.parent.is_dir():
            raise StoreRefused(f"the directory {path.parent} does not exist")
        try:
            with self._files.locked_within(START_LOCK_TIMEOUT_S):
                self._files.refuse_unusable()
                with closing(self._connect("rwc", busy_timeout_s=START_LOCK_TIMEOUT_S)) as db:
                    _refuse_foreign(db, path)
                    _refuse_corrupt(db, path)
                    _enter_wal_mode(db)
                    self._apply_due_migrations(db)
                self._files.sync_directory()
        except _DRIVER_ERRORS as error:
            raise StoreRefused(f"cannot use {path}: {error} ({_reason(error)})") from error
        finally:
            self._files.close()

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`: run `fn` on one snapshot."""
        if deadline is None:
            deadline = time.monotonic() + REQUEST_TIME_S
        return self._read(lambda rows: fn(ReadTx(rows)), deadline)

    def write(self, fn: Callable[[WriteTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`: run `fn` in one durable transaction."""
        self._refuse_other_process()
        if deadline is None:
            deadline = time.monotonic() + REQUEST_TIME_S
        result: T = self._writer.submit(fn, deadline)
        return result

    def seconds_since_commit(self) -> float:
        """See `contract.Store`."""
        return time.monotonic() - self._committed_at

    def check(self) -> Iterator[str]:
        """See `contract.Store`; what is checked, and what that costs: `integrity.findings`."""

        def rows(sql: str) -> list[Row]:
            return self._read(lambda run: list(run(sql, {})), time.monotonic() + REQUEST_TIME_S)

        return integrity.findings(rows, self._schema_in_memory(), self._known[-1].number)

    def close(self) -> None:
        """See `contract.Store`."""
        writer_has_ended = self._writer.close()
        while self._idle_readers:
            self._idle_readers.pop().close()
        if not writer_has_ended:
            return  # What it still holds must not be closed under its hands.
        if self._write_connection is not None:
            self._write_connection.close()
            self._write_connection = None
        self._files.close()

    # Reading: on the thread that asks.

    def _read(self, fn: Callable[[Execute], T], deadline: float) -> T:
        while True:
            try:
                return self._read_once(fn)
            except _DRIVER_ERRORS as error:
                if isinstance(error, _OUR_FAULTS):
                    raise
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise _unavailable(error) from error
            # SQLite would wait inside C and stop an event loop; so we wait here.
            time.sleep(_BUSY_PAUSE_S)

    def _read_once(self, fn: Callable[[Execute], T]) -> T:
        connection = self._take_reader()
        try:
            connection.execute("BEGIN")
            result = fn(connection.rows)
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

    def _take_reader(self) -> "_Connection":
        self._refuse_other_process()
        self._files.identity()
        with suppress(IndexError):  # none is idle
            return self._idle_readers.pop()
        return self._open("ro")

    # Writing: on the writer's thread, under the lock between processes.

    def _run(self, job: Job) -> bool:
        """Run a job to its end and tell whether the store could do its part."""
        try:
            result = self._transact(job)
        except _DRIVER_ERRORS as error:
            is_our_fault = isinstance(error, _OUR_FAULTS)
            job.fail(error if is_our_fault else _unavailable(error))
            return is_our_fault
        except StoreUnavailable as error:
            job.fail(error)
            return False
        except BaseException as error:
            job.fail(error)
            return True
        # Its request goes on before the checkpoint, which fails nobody.
        job.succeed(result)
        with suppress(sqlite3.Error):
            self._checkpoint()
        return True

    def _transact(self, job: Job) -> Any:
        connection = _until(job.deadline, self._current_write_connection)
        try:
            _until(job.deadline, lambda: connection.execute("BEGIN IMMEDIATE"))
            changes = connection.total_changes
            result = job.fn(WriteTx(connection.rows_in_transaction))
            if connection.total_changes == changes:
                connection.execute("ROLLBACK")
            else:
                _until(job.deadline, lambda: connection.execute("COMMIT"))
                # A file that has left meanwhile took the order along.
                self._files.identity()
                self._committed_at = time.monotonic()
        except BaseException as error:
            self._undo(connection, error)
            raise
        return result

    def _undo(self, connection: "_Connection", error: BaseException) -> None:
        """Roll back. A connection whose driver failed is not used again: its state is unknown."""
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if isinstance(error, _DRIVER_ERRORS):
            connection.close()
            self._write_connection = None

    def _checkpoint(self) -> None:
        if self._write_connection is not None:
            self._checkpointer.after_transaction(self._write_connection.execute)

    def _current_write_connection(self) -> "_Connection":
        self._files.identity()
        if self._write_connection is None:
            self._write_connection = self._open("rw", busy_timeout_s=_WRITER_BUSY_TIMEOUT_S)
        return self._write_connection

    # Opening.

    def _refuse_other_process(self) -> None:
        """Hold that no connection crosses a fork: SQLite's locks would be lost."""
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise RuntimeError("the store was opened before a fork")

    def _open(self, mode: str, *, busy_timeout_s: float = 0.0) -> "_Connection":
        """Open a database that exists; one that vanished is never made anew behind its clients."""
        identity = self._files.identity()
        db = self._connect("rw", busy_timeout_s=busy_timeout_s)
        try:
            if mode == "ro":
                db.execute("PRAGMA query_only = ON")
            if _application_id(db) != APPLICATION_ID:
                raise StoreUnavailable("the database is not ours")
            if migrate.due(self._known, _applied(db)):
                raise StoreUnavailable("the database's schema is not up to date")
        except StoreRefused as error:
            db.close()
            raise StoreUnavailable(str(error)) from error
        except BaseException:
            db.close()
            raise
        self._files.use(identity)
        return _Connection(db)

    def _connect(self, mode: str, *, busy_timeout_s: float) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self._uri}?mode={'ro' if self._read_only else mode}",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_MOST_BYTES}")
        return db

    def _apply_due_migrations(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            if _application_id(db) != APPLICATION_ID:
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations ("
                " number INTEGER NOT NULL PRIMARY KEY, works_with INTEGER NOT NULL) STRICT"
            )
            for migration in migrate.due(self._known, _applied(db)):
                for statement in _statements(migration.sql):
                    db.execute(statement)
                db.execute(
                    "INSERT INTO schema_migrations VALUES (?, ?)",
                    (migration.number, migration.works_with),
                )
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _schema_in_memory(self) -> dict[str, str | None]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            self._apply_due_migrations(db)
            return dict(db.execute(integrity.SCHEMA).fetchall())


class _Connection:
    """A connection, as far as the store needs one."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.execute = db.execute
        self.close = db.close

    def rows(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        """Run a statement and read its rows to the end."""
        return self._db.execute(sql, parameters).fetchall()

    def rows_in_transaction(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        """Run a statement that must not commit alone, as after a failure that rolled back all."""
        if not self._db.in_transaction:
            raise StoreUnavailable("the transaction has ended early")
        return self.rows(sql, parameters)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._db.in_transaction

    @property
    def total_changes(self) -> int:
        """How many rows this connection has changed so far."""
        return self._db.total_changes


def _until(deadline: float, act: Callable[[], T]) -> T:
    """Do `act` again while others hold the database's lock, until the deadline."""
    while True:
        try:
            return act()
        except sqlite3.Error as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        # Where SQLite does not wait itself, as for the recovery of a WAL.
        time.sleep(_BUSY_PAUSE_S)


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(
        ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
    )


def _unavailable(error: Exception) -> StoreUnavailable:
    name = getattr(error, "sqlite_errorname", None)
    # What has no such name is text that is not UTF-8, in a row or in SQLite's own message.
    damaged = name is None or name.startswith(_DAMAGED)
    return (StoreCorrupt if damaged else StoreUnavailable)(_reason(error))


def _reason(error: Exception) -> str:
    return f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"


def _application_id(db: sqlite3.Connection) -> int:
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    return int(application_id)


def _applied(db: sqlite3.Connection) -> dict[int, int]:
    return dict(db.execute("SELECT number, works_with FROM schema_migrations").fetchall())


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    (entries,) = db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    application_id = _application_id(db)
    if application_id != APPLICATION_ID and (application_id or entries):
        raise StoreRefused(f"{path} is not a database of orderapi")


def _refuse_corrupt(db: sqlite3.Connection, path: Path) -> None:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    if pages * page_bytes <= QUICK_CHECK_MOST_BYTES:
        (finding,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise StoreRefused(f"{path} is corrupt: {' '.join(finding.split())}")


def _enter_wal_mode(db: sqlite3.Connection) -> None:
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreRefused("the database's file system does not support WAL; use a local disk")


def _statements(script: str) -> Iterator[str]:
    """Split a script at the ends of its statements; a trigger's inner ones do not count."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
