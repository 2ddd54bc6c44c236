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

from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.store import migrate
from orderapi.store.checkpoint import Checkpointer
from orderapi.store.contract import REQUEST_TIME_S
from orderapi.store.files import DatabaseFiles, Identity
from orderapi.store.tx import ReadTx, Row, WriteTx
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
_BUSY_TIMEOUT_MS = 100
_WAL_MOST_BYTES = 64 * 1024 * 1024
# What the driver raises for mistakes of this program, not of the disk.
_OUR_FAULTS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)


class SqliteStore:
    """A store in one SQLite file; see `contract.Store`.

    `waiting_when_stuck` is how many requests of this process may wait for a store that does
    nothing; the rest are refused at once, so that reads go on.
    """

    def __init__(self, path: Path, *, waiting_when_stuck: int = 16) -> None:
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
                with closing(self._connect("rwc", busy_timeout_s=START_LOCK_TIMEOUT_S)) as db:
                    _refuse_foreign(db, path)
                    _refuse_corrupt(db, path)
                    _enter_wal_mode(db)
                    self._apply_due_migrations(db)
                self._files.sync_directory()
        except sqlite3.Error as error:
            raise StoreRefused(f"cannot use {path}: {error} ({_reason(error)})") from error
        finally:
            self._files.close()

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`: run `fn` on one snapshot."""
        if deadline is None:
            deadline = time.monotonic() + REQUEST_TIME_S
        while True:
            try:
                return self._read_once(fn)
            except sqlite3.Error as error:
                if isinstance(error, _OUR_FAULTS):
                    raise
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise StoreUnavailable(_reason(error)) from error
            # SQLite would wait inside C and stop an event loop; so we wait here.
            time.sleep(_BUSY_PAUSE_S)

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
        """See `contract.Store`: `integrity_check` and `foreign_key_check`, a table at a time.

        A snapshot ends with its table, so that the WAL can be reset in between.
        """
        with closing(self._open("ro")) as connection:
            tables = connection.rows("SELECT name FROM sqlite_schema WHERE type = 'table'", {})
            for (table,) in tables:
                for (finding,) in connection.rows(f'PRAGMA integrity_check("{table}")', {}):
                    if finding != "ok":
                        yield f"integrity_check({table}): {finding}"
                for _, rowid, parent, _ in connection.rows(
                    f'PRAGMA foreign_key_check("{table}")', {}
                ):
                    yield f"{table} row {rowid} refers to a missing row of {parent}"

    def close(self) -> None:
        """See `contract.Store`."""
        self._writer.close()
        while self._idle_readers:
            self._idle_readers.pop().close()
        if self._write_connection is not None:
            self._write_connection.close()
            self._write_connection = None
        self._files.close()

    # Reading: on the thread that asks.

    def _read_once(self, fn: Callable[[ReadTx], T]) -> T:
        connection = self._take_reader()
        try:
            connection.execute("BEGIN")
            result = fn(ReadTx(connection.rows))
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._idle_readers.append(connection)
        return result

    def _take_reader(self) -> "_Connection":
        self._refuse_other_process()
        identity = self._files.identity()
        while self._idle_readers:
            with suppress(IndexError):  # another thread took the last one
                connection = self._idle_readers.pop()
                if connection.identity == identity:
                    return connection
                connection.close()
        return self._open("ro")

    # Writing: on the writer's thread, under the lock between processes.

    def _run(self, job: Job) -> bool:
        """Run a job to its end and tell whether the store could do its part."""
        try:
            result = self._transact(job)
        except sqlite3.Error as error:
            is_our_fault = isinstance(error, _OUR_FAULTS)
            job.fail(error if is_our_fault else StoreUnavailable(_reason(error)))
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
        connection = self._current_write_connection()
        try:
            _until(job.deadline, connection, "BEGIN IMMEDIATE")
            changes = connection.total_changes
            result = job.fn(WriteTx(connection.rows))
            if connection.total_changes == changes:
                connection.execute("ROLLBACK")
            else:
                _until(job.deadline, connection, "COMMIT")
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
        if isinstance(error, sqlite3.Error):
            connection.close()
            self._write_connection = None

    def _checkpoint(self) -> None:
        if self._write_connection is not None:
            self._checkpointer.after_transaction(self._write_connection.execute)

    def _current_write_connection(self) -> "_Connection":
        connection = self._write_connection
        if connection is not None and connection.identity != self._files.identity():
            connection.close()
            self._write_connection = connection = None
        if connection is None:
            self._write_connection = connection = self._open("rw")
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        return connection

    # Opening.

    def _refuse_other_process(self) -> None:
        """Hold that no connection crosses a fork: SQLite's locks would be lost."""
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise RuntimeError("the store was opened before a fork")

    def _open(self, mode: str) -> "_Connection":
        """Open a database that exists; one that vanished is never made anew behind its clients."""
        identity = self._files.identity()
        db = self._connect("rw", busy_timeout_s=0.0)
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
        return _Connection(db, identity)

    def _connect(self, mode: str, *, busy_timeout_s: float) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self._uri}?mode={mode}",
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


class _Connection:
    """A connection, and which file it was opened on."""

    def __init__(self, db: sqlite3.Connection, identity: Identity) -> None:
        self._db = db
        self.identity = identity
        self.execute = db.execute
        self.close = db.close

    def rows(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        """Run a statement and read its rows to the end."""
        return self._db.execute(sql, parameters).fetchall()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._db.in_transaction

    @property
    def total_changes(self) -> int:
        """How many rows this connection has changed so far."""
        return self._db.total_changes


def _until(deadline: float, connection: _Connection, statement: str) -> None:
    """Run a statement again while others hold the database's lock, until the deadline."""
    while True:
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        else:
            return


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(
        ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
    )


def _reason(error: sqlite3.Error) -> str:
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
