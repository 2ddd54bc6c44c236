"""A database of PostgreSQL into which a whole store is copied."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg

from orderapi.errors import FileRefused
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.copying import CopyWriter, TargetState
from orderapi.store.maintenance import Auditable
from orderapi.store.postgres import start
from orderapi.store.postgres.auditable import PostgresAuditable
from orderapi.store.postgres.connection import Connection
from orderapi.store.postgres.copy_session import (
    STATEMENT_MAX_S,
    connect_with_retries,
    executor_of,
    open_connection,
    refuse_served,
    sessions_of,
    transaction,
    translate_error,
)
from orderapi.store.postgres.session import UNFINISHED_COPY, has_table
from orderapi.store.statements.copies import (
    GROWING_TABLES,
    ChangingTable,
    CopyReads,
    GrowingTable,
)
from orderapi.store.statements.execution import Row

# Columns that the server numbers. After a copy, it must continue after the greatest number.
_NUMBERED = (("ledger", "ledger_id"), ("tokens", "token_id"))


class PostgresCopyTarget:
    """See `copying.CopyTarget`."""

    def __init__(self, url: PostgresUrl) -> None:
        self._url = url

    def state(self) -> TargetState:
        """See `copying.CopyTarget`."""
        try:
            with closing(connect_with_retries(self._url)) as connection:
                if has_table(connection, UNFINISHED_COPY):
                    return TargetState.UNFINISHED
                is_empty = (
                    not has_table(connection, "schema_migrations")
                    or CopyReads(executor_of(connection)).is_empty()
                )
        except psycopg.Error as error:
            raise translate_error(error) from error
        return TargetState.EMPTY if is_empty else TargetState.IN_USE

    @contextmanager
    def open_reads(self) -> Iterator[CopyReads]:
        """See `copying.CopyTarget`."""
        with open_connection(self._url) as connection, transaction(connection, "REPEATABLE READ"):
            yield CopyReads(executor_of(connection))

    @contextmanager
    def begin_copy(self, source: str) -> Iterator[CopyWriter]:
        """See `copying.CopyTarget`."""
        was_unfinished = self.state() is TargetState.UNFINISHED
        start.prepare(self._url, migrate.load("postgres"), copy_of=source)
        with open_connection(self._url) as connection:
            writer = PostgresCopyWriter(connection, self._url)
            try:
                # A service that connects after the mark was made is refused by the mark.
                refuse_served(connection, self._url)
                if not was_unfinished and not writer.reads().is_empty():
                    raise FileRefused(f"a service has written to {self._url} meanwhile")
            except FileRefused:
                if not was_unfinished:
                    writer.unmark()
                raise
            yield writer


class PostgresCopyWriter:
    """See `copying.CopyWriter`."""

    def __init__(self, connection: Connection, url: PostgresUrl) -> None:
        self._connection = connection
        self._url = url

    def reads(self) -> CopyReads:
        """See `copying.CopyWriter`."""
        return CopyReads(executor_of(self._connection))

    def add_rows(self, table: GrowingTable, rows: Sequence[Row]) -> None:
        """See `copying.CopyWriter`."""
        with self._transaction():
            self._insert(table, rows)

    def replace_rows(self, tables: Sequence[tuple[ChangingTable, Sequence[Row]]]) -> None:
        """See `copying.CopyWriter`."""
        with self._transaction():
            for table, rows in tables:
                self._connection.execute(f"DELETE FROM {table.name}".encode())  # noqa: S608 - a constant of ours
                self._insert(table, rows)
            for name, column in _NUMBERED:
                self._connection.rows(
                    f"SELECT setval(pg_get_serial_sequence(?, ?), max({column})) FROM {name}",  # noqa: S608 - constants of ours
                    (name, column),
                )

    def find_audit_position(self) -> str:
        """See `copying.CopyWriter`."""
        execute = executor_of(self._connection)
        ((order_id,),) = execute(f"SELECT audited_before FROM {UNFINISHED_COPY}", ())  # noqa: S608 - a constant of ours
        return str(order_id)

    def note_audit(self, order_id: str) -> None:
        """See `copying.CopyWriter`."""
        with self._transaction():
            self._connection.rows(f"UPDATE {UNFINISHED_COPY} SET audited_before = ?", (order_id,))  # noqa: S608 - a constant of ours

    @contextmanager
    def open_for_audit(self) -> Iterator[Auditable]:
        """See `copying.CopyWriter`. The server first learns how many rows its tables have now."""
        self._connection.deadline = time.monotonic() + STATEMENT_MAX_S
        try:
            for table in GROWING_TABLES:
                self._connection.execute(f"ANALYZE {table.name}".encode())
        except psycopg.Error as error:
            raise translate_error(error) from error
        with closing(PostgresAuditable(sessions_of(self._url))) as auditable:
            yield auditable

    def finish(self) -> None:
        """See `copying.CopyWriter`."""
        self.unmark()

    def unmark(self) -> None:
        """Let services use the database again."""
        with self._transaction():
            self._connection.execute(f"DROP TABLE {UNFINISHED_COPY}".encode())

    def _insert(self, table: GrowingTable | ChangingTable, rows: Sequence[Row]) -> None:
        columns = ", ".join(table.columns)
        with self._connection.cursor().copy(
            f"COPY {table.name} ({columns}) FROM STDIN".encode()
        ) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with transaction(self._connection):
            try:
                # Only one copy at a time is made in a database. The server may need a moment to
                # notice that a copy was killed.
                self._connection.execute(
                    f"LOCK TABLE {UNFINISHED_COPY} IN ACCESS EXCLUSIVE MODE".encode()
                )
            except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable) as error:
                raise FileRefused(f"another copy is being made in {self._url}") from error
            yield
