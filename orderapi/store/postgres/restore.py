"""Put a backup in the place of the tables of a database, which no service may have open.

The backup is loaded into a schema that no service uses. There it is audited. Then one
transaction moves the old tables into another schema, and the new ones into their place.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from orderapi.errors import FileRefused, StoreRefused
from orderapi.maintenance_records import Gone, Replaced
from orderapi.settings import PostgresUrl
from orderapi.store.copying import CopyWriter, copy_all
from orderapi.store.maintenance import Auditable, OnProgress
from orderapi.store.postgres.connection import Connection
from orderapi.store.postgres.copy_session import (
    connect_with_retries,
    executor_of,
    refuse_served,
    transaction,
)
from orderapi.store.postgres.copy_target import PostgresCopyTarget
from orderapi.store.postgres.rights import give_owners, give_rights
from orderapi.store.postgres.session import UNFINISHED_COPY, has_table, refuse_unfinished_copy
from orderapi.store.sqlite.copy_source import SqliteCopySource
from orderapi.store.statements.copies import CopyReads
from orderapi.store.statements.execution import Row
from orderapi.store.statements.gone import count_gone

# The schema into which a backup is loaded.
LOADING = "orderapi_restoring"
# The beginning of the name of the schema that has the tables that were there before.
KEPT = "orderapi_replaced_"

# "orderapi" and one more, so that it is not the lock of a migration.
_RESTORE_LOCK = int.from_bytes(b"orderapi") + 1
# The tables and the functions of one schema that also exist in the schema with the backup. A table
# takes its indexes, its triggers and the sequence of its numbers along.
_OURS = """\
SELECT format('TABLE %I.%I', n.nspname, c.relname), false
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ? AND c.relkind = 'r' AND EXISTS (
  SELECT 1 FROM pg_class AS o JOIN pg_namespace AS m ON m.oid = o.relnamespace
  WHERE m.nspname = ? AND o.relname = c.relname)
UNION ALL
SELECT format('FUNCTION %I.%I(%s)', n.nspname, p.proname,
    pg_get_function_identity_arguments(p.oid)),
  p.proconfig::text LIKE '%search_path=%'
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = ? AND EXISTS (
  SELECT 1 FROM pg_proc AS o JOIN pg_namespace AS m ON m.oid = o.pronamespace
  WHERE m.nspname = ? AND o.proname = p.proname AND o.proargtypes = p.proargtypes)"""


@contextmanager
def begin_restore(url: PostgresUrl, *, force: bool) -> Iterator["PostgresRestore"]:
    """Check that the database can be replaced. No other restore can begin until the block ends.

    Without `force`, raises FileRefused if it has orders or tokens, or if it is an unfinished copy.
    Raises FileRefused if a process has it open, and StoreRefused if this release cannot serve it.
    """
    with closing(connect_with_retries(url)) as connection, ExitStack() as held:
        execute = executor_of(connection)
        ((is_alone,),) = execute("SELECT pg_try_advisory_lock(?)", (_RESTORE_LOCK,))
        if not is_alone:
            raise FileRefused(f"another restore is being made in {url}")
        refuse_served(connection, url)
        is_there = has_table(connection, "schema_migrations")
        if not force:
            _refuse_unfinished_copy(connection, url)
            if is_there and not CopyReads(execute).is_empty():
                raise FileRefused(f"{url} has orders already; --force keeps them in another schema")
        restore = PostgresRestore(url, connection, held, is_there=is_there)
        restore.clear()
        try:
            yield restore
        finally:
            held.close()
            restore.clear()


class PostgresRestore:
    """See `maintenance.Restore`. `begin_restore` makes it."""

    def __init__(
        self, url: PostgresUrl, connection: Connection, held: ExitStack, *, is_there: bool
    ) -> None:
        self._url = url
        self._connection = connection
        self._held = held
        self._is_there = is_there
        self._writer: CopyWriter | None = None

    def copy_backup(self, backup: Path, on_progress: OnProgress) -> None:
        """See `maintenance.Restore`."""
        with SqliteCopySource(backup, backup_of_postgres=True).snapshot() as snapshot:
            with transaction(self._connection):
                self._execute(f"CREATE SCHEMA {LOADING}")
            target = PostgresCopyTarget(_url_of_schema(self._url, LOADING))
            self._writer = self._held.enter_context(target.begin_copy(str(backup)))
            copy_all(snapshot.reads, self._writer, on_progress)

    def open_copy(self) -> AbstractContextManager[Auditable]:
        """See `maintenance.Restore`."""
        assert self._writer is not None
        return self._writer.open_for_audit()

    def put_in_place(self) -> Replaced:
        """See `maintenance.Restore`."""
        assert self._writer is not None
        self._writer.finish()
        gone, unknown, kept_as = None, "there was no database", None
        with transaction(self._connection):
            place = str(self._row("SELECT current_schema()")[0])
            if self._is_there:
                kept_as = f"{KEPT}{datetime.now(UTC):%Y%m%dt%H%M%S}"
                self._execute(f'LOCK TABLE "{place}".write_lock IN ACCESS EXCLUSIVE MODE')
                counted = self._row(count_gone(f'"{place}"', LOADING))
                gone, unknown = Gone(*map(int, counted)), ""
                give_rights(self._connection, place, LOADING)
                self._execute(f"CREATE SCHEMA {kept_as}")
                self._move(place, kept_as)
                if has_table(self._connection, UNFINISHED_COPY):
                    # A service does not start on a database that has this table.
                    self._execute(f"ALTER TABLE {UNFINISHED_COPY} SET SCHEMA {kept_as}")
            refuse_served(self._connection, self._url)
            self._move(LOADING, place)
            if kept_as is not None:
                give_owners(self._connection, kept_as, place)
        return Replaced(f"the schema {kept_as}" if kept_as else None, gone, unknown)

    def clear(self) -> None:
        """Delete what was loaded and not put in place."""
        with transaction(self._connection):
            # The server gives a notice for each table that it drops with the schema.
            self._execute("SET LOCAL client_min_messages = warning")
            self._execute(f"DROP SCHEMA IF EXISTS {LOADING} CASCADE")

    def _move(self, old: str, new: str) -> None:
        """Move our tables and functions from one schema into another one."""
        for name, has_path in self._connection.rows(_OURS, (old, LOADING, old, LOADING)):
            if has_path:
                self._execute(f'ALTER {name} SET search_path = "{new}", pg_temp')
            self._execute(f'ALTER {name} SET SCHEMA "{new}"')

    def _execute(self, sql: str) -> None:
        self._connection.execute(sql.encode())

    def _row(self, sql: str) -> Row:
        (row,) = self._connection.rows(sql, ())
        return row


def _refuse_unfinished_copy(connection: Connection, url: PostgresUrl) -> None:
    try:
        refuse_unfinished_copy(connection)
    except StoreRefused as error:
        raise FileRefused(
            f"{url}: {error}, or give --force to keep its tables in another schema and to restore"
        ) from error


def _url_of_schema(url: PostgresUrl, schema: str) -> PostgresUrl:
    """Return the URL with which every table is made and found in a schema of its own."""
    separator = "&" if "?" in url.text else "?"
    return PostgresUrl(f"{url.text}{separator}options=-csearch_path%3D{schema}")
