"""A SQLite file into which a whole store is copied."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from orderapi.errors import FileRefused, StoreRefused
from orderapi.store import migrate
from orderapi.store.copying import CopyWriter, TargetState
from orderapi.store.maintenance import Auditable
from orderapi.store.sqlite import start
from orderapi.store.sqlite.auditable import SqliteAuditable
from orderapi.store.sqlite.checkpoint import WAL_MAX_BYTES
from orderapi.store.sqlite.connection import (
    DRIVER_ERRORS,
    OUR_FAULTS,
    Connection,
    reason,
    store_unavailable,
)
from orderapi.store.sqlite.copy_source import executor_of, open_snapshot
from orderapi.store.sqlite.file_names import side_file, size_of
from orderapi.store.sqlite.file_swap import hold_exclusively, refuse_opened
from orderapi.store.sqlite.files import DatabaseFiles
from orderapi.store.sqlite.lock_file import COMMAND_WAIT_MAX_S, owner_of
from orderapi.store.statements.copies import ChangingTable, CopyReads, GrowingTable
from orderapi.store.statements.execution import Row

# Keys are not sorted as they are copied, so their index must fit into memory, or at least its upper
# part.
_CACHE_KIB = 128 * 1024


class SqliteCopyTarget:
    """See `copying.CopyTarget`."""

    def __init__(self, path: Path) -> None:
        self._files = DatabaseFiles(path)
        self._path = self._files.path

    def state(self) -> TargetState:
        """See `copying.CopyTarget`."""
        if not size_of(self._path) and not size_of(side_file(self._path, "-wal")):
            return TargetState.EMPTY
        try:
            with closing(Connection(self._path, "ro")) as connection:
                accepted = (start.APPLICATION_ID, start.UNFINISHED_COPY_ID)
                start.refuse_foreign(connection, self._path, accepted)
                application_id = connection.value("PRAGMA application_id")
                if application_id == start.UNFINISHED_COPY_ID:
                    return TargetState.UNFINISHED
                has_tables = connection.value("SELECT COUNT(*) FROM sqlite_schema")
                is_empty = not has_tables or CopyReads(connection.rows).is_empty()
        except DRIVER_ERRORS as error:
            raise store_unavailable(error) from error
        return TargetState.EMPTY if is_empty else TargetState.IN_USE

    @contextmanager
    def open_reads(self) -> Iterator[CopyReads]:
        """See `copying.CopyTarget`."""
        with open_snapshot(self._path, "ro") as connection:
            yield CopyReads(executor_of(connection))

    @contextmanager
    def begin_copy(self, source: str) -> Iterator[CopyWriter]:
        """See `copying.CopyTarget`. A SQLite file keeps no name of its source."""
        del source
        if not self._path.parent.is_dir():
            raise FileRefused(f"the directory {self._path.parent} does not exist")
        # This is also checked before the lock is taken: a suspended process may hold it.
        refuse_opened(self._path)
        try:
            with self._files.lock.hold_within(COMMAND_WAIT_MAX_S):
                with hold_exclusively(self._path):
                    self._files.refuse_unusable()
                writer = SqliteCopyWriter(self._path, start.UNFINISHED_COPY_ID, is_resumable=True)
                with closing(writer):
                    yield writer
        finally:
            self._files.close()


class SqliteCopyWriter:
    """See `copying.CopyWriter`.

    `mark` is the application id of the file while it is written. If the copy `is_resumable`, each
    call is durable. Otherwise only the whole file counts, and its caller puts it on stable storage.
    """

    def __init__(self, path: Path, mark: int, *, is_resumable: bool) -> None:
        self._path = path
        self._mark = mark
        self._is_resumable = is_resumable
        if not path.exists():
            path.touch(0o600)
            if os.geteuid() == 0:
                os.chown(path, *owner_of(path.parent))
        self._connection = self._open()

    def reads(self) -> CopyReads:
        """See `copying.CopyWriter`."""
        return CopyReads(executor_of(self._connection))

    def add_rows(self, table: GrowingTable, rows: Sequence[Row]) -> None:
        """See `copying.CopyWriter`."""
        with self._transaction():
            self._insert(table, rows)
        self._shorten_wal()

    def replace_rows(self, tables: Sequence[tuple[ChangingTable, Sequence[Row]]]) -> None:
        """See `copying.CopyWriter`."""
        with self._transaction():
            for table, rows in tables:
                self._connection.execute(f"DELETE FROM {table.name}")  # noqa: S608 - a constant of ours
                self._insert(table, rows)

    def find_audit_position(self) -> str:
        """See `copying.CopyWriter`. A SQLite file records no audit: it is read fast enough."""
        return ""

    def note_audit(self, order_id: str) -> None:
        """See `copying.CopyWriter`."""
        del order_id

    def open_for_audit(self) -> AbstractContextManager[Auditable]:
        """See `copying.CopyWriter`. The last connection to close moves the WAL into the file."""
        self._connection.close()
        return closing(SqliteAuditable(self._path, immutable=True, accepted=(self._mark,)))

    def finish(self) -> None:
        """See `copying.CopyWriter`."""
        self._connection.close()
        self._connection = self._open()
        with self._transaction():
            self._connection.execute(f"PRAGMA application_id = {start.APPLICATION_ID}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> Connection:
        try:
            connection = Connection(self._path, "rw", busy_timeout_s=COMMAND_WAIT_MAX_S)
            try:
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
        except DRIVER_ERRORS as error:
            raise StoreRefused(f"cannot use {self._path}: {reason(error)}") from error
        return connection

    def _set_up(self, connection: Connection) -> None:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if self._is_resumable:
            start.enter_wal_mode(connection)
        else:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
        start.apply_due(connection, migrate.load("sqlite"), self._mark)

    def _insert(self, table: GrowingTable | ChangingTable, rows: Sequence[Row]) -> None:
        values = ", ".join("?" * len(table.columns))
        self._connection.executemany(
            f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({values})",  # noqa: S608 - constants of ours
            rows,
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except OUR_FAULTS as error:
            raise FileRefused(f"{self._path} refuses a row: {reason(error)}") from error
        except DRIVER_ERRORS as error:
            raise store_unavailable(error) from error

    def _shorten_wal(self) -> None:
        """Move the WAL into the database when it is long, because no other process does."""
        if size_of(side_file(self._path, "-wal")) > WAL_MAX_BYTES:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except DRIVER_ERRORS as error:
                raise store_unavailable(error) from error
