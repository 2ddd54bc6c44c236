"""The database engines that tests run on.

Each gives one set of data under a URL, and shows the rows as another program sees them.
"""

import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import psycopg

from orderapi.settings import DatabaseUrl, PostgresUrl, SqliteUrl
from orderapi.store.open import open_store
from tests.support import placing, rows
from tests.support.pgbouncer import PgBouncer, pgbouncer
from tests.support.postgres import PostgresServer, postgres_server


class Engine(Protocol):
    """One engine, with data of its own."""

    # A directory for other files of the same test.
    directory: Path
    # What the engine raises for a row that breaks a constraint.
    constraint_error: type[Exception]
    # A regular expression for the reason in the log while the data is unreachable.
    why_away: str

    @property
    def url(self) -> DatabaseUrl:
        """The URL under which `orderapi.store.open` gives the stores on the data."""

    @property
    def url_text(self) -> str:
        """The URL as it is written in ORDERAPI_DATABASE_URL."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Query on a connection that does not belong to the store."""

    def counts(self) -> list[int]:
        """Count the rows of each table, on a connection that does not belong to the store."""

    def dump(self) -> list[str]:
        """Give every row of every table as text."""

    def execute(self, sql: str) -> None:
        """Change rows as another program with write access does."""

    def before(self, act: str, table: str, then: str) -> None:
        """Let the database run the statement `then` before it inserts, updates or deletes a row."""

    def refusing(self, table: str, message: str) -> AbstractContextManager[None]:
        """Let the database refuse new rows of a table with an error about their content."""

    def held(self) -> AbstractContextManager[None]:
        """Make every write wait, as a process does that writes for a long time."""

    def away(self) -> AbstractContextManager[None]:
        """Make the data unreachable for every store. Afterwards the data is unchanged."""

    def remove(self) -> None:
        """Delete the data. No store may have it open any more."""


# What the log may say of a server that is away, besides the usual reason. It depends on the moment:
# libpq reports a connection that ends while it is opened or used, and this service reports a
# deadline that passes before a connection is open.
_AWAY_AT_ANOTHER_MOMENT = (
    "server closed the connection unexpectedly|Connection reset by peer|Broken pipe"
    "|terminating connection|no connection to the server was open and free by the deadline"
    "|did not finish by its deadline"
)


class SqliteEngine:
    """The engine behind `sqlite:///`."""

    constraint_error: type[Exception] = sqlite3.IntegrityError
    why_away = "database file: No such file or directory"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "orders.db"

    @property
    def url(self) -> DatabaseUrl:
        return SqliteUrl(self.path)

    @property
    def url_text(self) -> str:
        return f"sqlite:///{self.path}"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return rows.query(self.path, sql)

    def counts(self) -> list[int]:
        return rows.counts(self.path)

    def dump(self) -> list[str]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            return list(database.iterdump())

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(sql)

    def before(self, act: str, table: str, then: str) -> None:
        self.execute(f"CREATE TRIGGER added BEFORE {act} ON {table} BEGIN {then}; END")

    @contextmanager
    def refusing(self, table: str, message: str) -> Iterator[None]:
        self.before("INSERT", table, f"SELECT RAISE(ABORT, '{message}')")
        yield
        self.execute("DROP TRIGGER added")

    def held(self) -> AbstractContextManager[None]:
        return placing.held(self.path)

    @contextmanager
    def away(self) -> Iterator[None]:
        away = self.path.rename(self.path.with_name("away.db"))
        try:
            yield
        finally:
            away.rename(self.path)

    def remove(self) -> None:
        """The temporary directory is deleted by its owner."""

    def fill_with_empty_tables(self) -> None:
        """Make the file of a new database, whose tables are empty.

        It is a copy, because a database syncs its file ten times when its tables are made.
        """
        self.path.write_bytes(_new_database())


@cache
def _new_database() -> bytes:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "orders.db"
        with closing(open_store(SqliteUrl(path))) as store:
            store.prepare()
        return path.read_bytes()


class PostgresEngine:
    """The engine behind `postgresql://`, with a database of its own on the shared server.

    The server may be another one. `options` are those of CREATE DATABASE.
    """

    constraint_error: type[Exception] = psycopg.IntegrityError
    why_away = f"is not currently accepting connections|{_AWAY_AT_ANOTHER_MOMENT}"

    def __init__(
        self, directory: Path, server: PostgresServer | None = None, options: str = ""
    ) -> None:
        self.directory = directory
        self.server = server or shared_server()
        self.database = f"test_{secrets.token_hex(6)}"
        self.url_text = self.server.create_database(self.database, options)
        # It is kept, because to open one takes longer than most tests.
        self._connection = self._connected()

    @property
    def url(self) -> PostgresUrl:
        return PostgresUrl(self.url_text)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        if self._connection.closed:
            self._connection = self._connected()
        cursor = self._connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []

    def counts(self) -> list[int]:
        return [int(self.query(f"SELECT COUNT(*) FROM {table}")[0][0]) for table in rows.TABLES]

    def dump(self) -> list[str]:
        tables = self.query(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        return [
            f"{table}: {row}"
            for (table,) in tables
            for (row,) in self.query(f"SELECT {table}::text FROM {table} ORDER BY 1")
        ]

    def execute(self, sql: str) -> None:
        self.query(sql)

    def before(self, act: str, table: str, then: str) -> None:
        self.execute(
            f"CREATE FUNCTION added() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN {then}; RETURN NEW; END $$"
        )
        self.execute(
            f"CREATE TRIGGER added BEFORE {act} ON {table} FOR EACH ROW EXECUTE FUNCTION added()"
        )

    @contextmanager
    def refusing(self, table: str, message: str) -> Iterator[None]:
        error = "USING ERRCODE = 'check_violation'"
        self.before("INSERT", table, f"RAISE EXCEPTION '{message}' {error}")
        yield
        self.execute("DROP FUNCTION added CASCADE")

    @contextmanager
    def held(self) -> Iterator[None]:
        with psycopg.connect(self.url_text) as connection:
            connection.execute("SELECT 1 FROM write_lock FOR UPDATE")
            yield

    @contextmanager
    def away(self) -> Iterator[None]:
        self._allow_connections(allow=False)
        try:
            yield
        finally:
            self._allow_connections(allow=True)

    def remove(self) -> None:
        self._connection.close()
        self.server.query(f"DROP DATABASE {self.database} WITH (FORCE)")

    def _allow_connections(self, *, allow: bool) -> None:
        self._connection.close()
        self.server.query(f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS {allow}")
        self.server.query(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            [self.database],
        )

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.server.url(self.database), autocommit=True)


class PgBouncerEngine(PostgresEngine):
    """The engine behind `postgresql://`, through a PgBouncer that pools transactions."""

    why_away = f"Connection refused|{_AWAY_AT_ANOTHER_MOMENT}"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.url_text = _shared_bouncer().url(self.database)

    @contextmanager
    def away(self) -> Iterator[None]:
        _shared_bouncer().stop()
        try:
            yield
        finally:
            _shared_bouncer().start()


# The engines by the name that the option `--engine` of pytest has for each.
ENGINES: dict[str, Callable[[Path], Engine]] = {
    "sqlite": SqliteEngine,
    "postgres": PostgresEngine,
    "pgbouncer": PgBouncerEngine,
}


def engine_of(database: Path | Engine) -> Engine:
    """Give the engine of a database, which may be a file of SQLite."""
    if not isinstance(database, Path):
        return database
    engine = SqliteEngine(database.parent)
    engine.path = database
    return engine


_running = ExitStack()


@cache
def shared_server() -> PostgresServer:
    """Give the server of PostgreSQL that the tests of this process share, until `stop_shared`."""
    return _running.enter_context(postgres_server())


@cache
def _shared_bouncer() -> PgBouncer:
    """Give the PgBouncer in front of the shared server, which exists until `stop_shared`."""
    return _running.enter_context(pgbouncer(shared_server()))


def stop_shared() -> None:
    """End the shared server and its PgBouncer, if they were started."""
    _running.close()
    shared_server.cache_clear()
    _shared_bouncer.cache_clear()
