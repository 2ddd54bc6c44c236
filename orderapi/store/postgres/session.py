"""How a connection of the store is opened: its server must have our schema."""

import time

import psycopg

from orderapi.errors import StoreCorrupt, StoreFailure, StoreRefused, StoreUnavailable
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.postgres.connection import Connection
from orderapi.store.postgres.failures import store_unavailable
from orderapi.store.postgres.servers import CHECK_MAX_S, connect

# The pause before a write is sent again. A batch of orders may have been committed before, but each
# key is claimed once. Any other write is sent again only if it was certainly not committed.
RETRY_PAUSE_S = 0.1

_APPLIED = "SELECT number, works_with FROM schema_migrations"
# A table that exists as long as the database is an unfinished copy of another store.
UNFINISHED_COPY = "unfinished_copy"


class Unprepared(StoreUnavailable):
    """The schema of the database is not that of this release, and waiting does not change this."""


class Sessions:
    """Opens connections to a database, whose schema must be that of the `known` migrations.

    The server shows each connection under the name `application`; see `servers.connect`. With
    `for_copy`, the database may be an unfinished copy.
    """

    def __init__(
        self,
        url: PostgresUrl,
        known: list[Migration],
        *,
        application: str | None = None,
        for_copy: bool = False,
    ) -> None:
        self._url = url
        self._known = known
        self._application = application
        self._for_copy = for_copy
        # The index of the server that last accepted this process. After a failover, the servers
        # before it in the URL may be silent, and each of them would take seconds.
        self._server = 0

    def open_for_reading(self) -> Connection:
        """Open a connection to the primary. Raises StoreUnavailable as `open_for_writing` does."""
        return self._open("primary")

    def open_for_writing(self) -> Connection:
        """Open a connection to the primary, which must let this role write.

        Raises StoreUnavailable if no server accepts this process, or if its schema is not ours.
        """
        return self._open("read-write")

    def _open(self, session: str) -> Connection:
        try:
            connection = connect(self._url, session, self._application, self._server)
        except psycopg.Error as error:
            raise store_unavailable(error) from error
        except StoreRefused as error:
            raise Unprepared(str(error)) from error
        try:
            connection.deadline = time.monotonic() + CHECK_MAX_S
            self._refuse_unprepared(connection)
        except BaseException:
            connection.drop()
            raise
        self._server = connection.server
        return connection

    def _refuse_unprepared(self, connection: Connection) -> None:
        try:
            applied = applied_migrations(connection)
            if not self._for_copy:
                refuse_unfinished_copy(connection)
            if migrate.find_due(self._known, applied):
                raise Unprepared(
                    "the schema of the database is not up to date; restart the service"
                )
        except psycopg.errors.UndefinedTable as error:
            raise StoreCorrupt(
                "the database is not one of orderapi", StoreFailure.FOREIGN
            ) from error
        except psycopg.Error as error:
            raise store_unavailable(error) from error
        except StoreRefused as error:
            raise Unprepared(str(error)) from error


def failure_of_warning(connection: Connection) -> StoreUnavailable:
    """Make the failure of a transaction in which the server has sent a notice or a warning."""
    return StoreUnavailable(
        f"PostgreSQL sent a warning, so the commit may not be durable: {connection.notices[0]}"
    )


def is_lasting(failure: StoreUnavailable) -> bool:
    """Tell whether a new connection cannot help after this failure."""
    return isinstance(failure, Unprepared | StoreCorrupt)


def refuse_unfinished_copy(connection: Connection) -> None:
    """Raise StoreRefused if this database is an unfinished copy of another store."""
    if has_table(connection, UNFINISHED_COPY):
        try:
            ((source,),) = connection.rows(f"SELECT source FROM {UNFINISHED_COPY}", ())  # noqa: S608 - a constant of ours
        except psycopg.errors.InsufficientPrivilege:
            source = "another database"  # only its owner knows the name
        raise StoreRefused(
            f"the database is an unfinished copy of {source}: run `orderapi copy` again to finish"
            " it"
        )


def has_table(connection: Connection, name: str) -> bool:
    """Tell whether a table exists.

    `to_regclass` is not used, because it answers from a cache that the wait for an advisory lock
    does not refresh. A query of `pg_class` sees the current state.
    """
    sql = "SELECT 1 FROM pg_class WHERE relname = ? AND pg_table_is_visible(oid)"
    return bool(connection.rows(sql, (name,)))


def applied_migrations(connection: Connection) -> dict[int, int]:
    """Return the numbers of the migrations of a database, each with its `works_with`."""
    rows = connection.rows(_APPLIED, {})
    return {int(number): int(works_with) for number, works_with in rows}
