"""What a start does with a database of PostgreSQL: it migrates it, or refuses it in one line."""

import re
import time
from contextlib import closing

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from orderapi.errors import StoreRefused
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.postgres.connection import Connection, refuse_blocking_wait
from orderapi.store.postgres.failures import reason
from orderapi.store.postgres.servers import connect, conninfo
from orderapi.store.postgres.session import (
    UNFINISHED_COPY,
    applied_migrations,
    has_table,
    refuse_unfinished_copy,
)

# How long a start tries to reach a server that does not answer.
REACH_MAX_S = 30.0
# How many seconds the server may take for everything that a start does, except for the migrations.
ANSWER_MAX_S = 40.0
# How many seconds a migration may wait for another process that migrates, or that uses a table.
LOCK_MAX_S = 30.0
# How many seconds one migration may take. It may have to read every row, or to build an index.
MIGRATION_MAX_S = 24 * 60 * 60.0
VERSION_MIN = 14
# The key of the advisory lock for migrations: "orderapi" in ASCII. No other program may use it.
MIGRATION_LOCK = int.from_bytes(b"orderapi")
assert LOCK_MAX_S < ANSWER_MAX_S < MIGRATION_MAX_S

# What to do if this role lacks a right that a start, or that another command needs.
OWNER_MIGRATES = "the owner of the database runs `orderapi migrate` and role.sql before this"
RUN_AS_OWNER = "run this command as the role that owns the tables"

_RETRY_PAUSE_S = 0.5
_VERSION = re.compile(r"PostgreSQL (\d+)(?!.*-YB-)")
_OWN_TABLES = ("orders", "ledger", "idempotency_keys", "events", "tokens", "leases")
# Each setting of the server or of the role that breaks a promise of the service: its bad value,
# and what to do.
_UNFIT = {
    "fsync": ("off", "set fsync = on, because a crash could lose acknowledged orders"),
    "full_page_writes": ("off", "set full_page_writes = on, because a crash could damage tables"),
    "synchronous_commit": (
        "off",
        "set synchronous_commit = on for this role, because a crash could lose acknowledged orders",
    ),
}


def prepare(url: PostgresUrl, known: list[Migration], *, copy_of: str | None = None) -> None:
    """Make the tables, or apply the `known` migrations that are due. Nothing stays open.

    `copy_of` is the name of the store that will be copied into the database. The database is then
    marked as an unfinished copy, before anybody can use its tables.

    Raises StoreRefused if this release cannot serve the database.
    """
    refuse_blocking_wait()
    with closing(connect_with_retries(url)) as connection:
        try:
            if copy_of is None:
                refuse_unfinished_copy(connection)
            _migrate(connection, known, copy_of)
        except psycopg.errors.LockNotAvailable as error:
            raise StoreRefused(
                f"cannot prepare {url}: another process migrates the database or uses its tables;"
                " start again when it has ended"
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            advice = OWNER_MIGRATES if copy_of is None else RUN_AS_OWNER
            raise StoreRefused(f"cannot prepare {url}: {reason(error)}: {advice}") from error
        except psycopg.Error as error:
            raise StoreRefused(f"cannot prepare {url}: {reason(error)}") from error


def connect_with_retries(
    url: PostgresUrl, application: str | None = None, reach_max_s: float | None = None
) -> Connection:
    """Open a connection to the primary, which has ANSWER_MAX_S for what comes next.

    A server that does not answer is tried again for `reach_max_s` seconds, by default for
    REACH_MAX_S. Raises StoreRefused if it does not answer even then, or if it cannot keep the
    promises of the service. `application` is that of `servers.connect`.
    """
    # The constant is read at the call, because tests set it to a shorter time.
    connection = _try_until_connected(
        url, application, REACH_MAX_S if reach_max_s is None else reach_max_s
    )
    connection.deadline = time.monotonic() + ANSWER_MAX_S
    try:
        _refuse_imitation(connection)
        _refuse_unfit(connection)
    except psycopg.Error as error:
        connection.close()
        raise StoreRefused(f"cannot prepare {url}: {reason(error)}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _try_until_connected(
    url: PostgresUrl, application: str | None, reach_max_s: float
) -> Connection:
    parameters = conninfo(url)
    has_several = "," in str(parameters.get("host", ""))
    give_up_at = time.monotonic() + reach_max_s
    while True:
        # The ping comes before the attempt. So a server that becomes ready between the two does
        # not count as one that answers and refuses.
        answers = PGconn.ping(make_conninfo(**parameters).encode()) == Ping.OK
        try:
            return connect(url, "read-write", application)
        except psycopg.Error as error:
            if answers and not has_several:
                raise StoreRefused(_why_not_writable(url, error)) from error
            if time.monotonic() > give_up_at:
                raise StoreRefused(f"cannot reach {url}: {reason(error)}") from error
        time.sleep(_RETRY_PAUSE_S)


def _why_not_writable(url: PostgresUrl, error: psycopg.Error) -> str:
    """Say why a server that answers does not let this process write."""
    try:
        with closing(connect(url, "any")) as connection:
            connection.deadline = time.monotonic() + ANSWER_MAX_S
            ((is_standby,),) = connection.rows("SELECT pg_is_in_recovery()", ())
    except psycopg.Error:
        return f"cannot connect to {url}: {reason(error)}"
    if is_standby:
        return f"{url} is a standby, which cannot be written; name the primary, or several hosts"
    return f"{url} lets this role only read; set default_transaction_read_only = off for it"


def _refuse_imitation(connection: Connection) -> None:
    """Refuse an engine that speaks the protocol of PostgreSQL without being PostgreSQL."""
    ((version,),) = connection.rows("SELECT version()", ())
    found = _VERSION.match(version)
    try:
        connection.rows("SELECT system_identifier FROM pg_control_system()", ())
    except psycopg.errors.InsufficientPrivilege:
        pass  # the function exists
    except psycopg.errors.UndefinedFunction:
        found = None
    if found is None or int(found[1]) < VERSION_MIN:
        raise StoreRefused(
            f"PostgreSQL {VERSION_MIN} or newer is needed, and this server is: {version[:80]}"
        )


def _refuse_unfit(connection: Connection) -> None:
    encoding = _setting(connection, "server_encoding")
    isolation = _setting(connection, "default_transaction_isolation")
    if encoding != "UTF8":
        raise StoreRefused(
            f"the database has the encoding {encoding}; create it with ENCODING 'UTF8'"
        )
    if isolation != "read committed":
        raise StoreRefused(
            f"default_transaction_isolation is '{isolation}' for this role or database; set it to"
            " 'read committed'"
        )
    for name, (bad, what_to_do) in _UNFIT.items():
        if _setting(connection, name) == bad:
            raise StoreRefused(f"{name} is {bad}: {what_to_do}")


def _setting(connection: Connection, name: str) -> str:
    ((value,),) = connection.rows("SELECT current_setting(?)", (name,))
    return str(value)


def _migrate(connection: Connection, known: list[Migration], copy_of: str | None) -> None:
    if copy_of is None and _is_up_to_date(connection, known):
        return
    connection.execute(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0;"
        f" SET LOCAL lock_timeout = {LOCK_MAX_S * 1000:.0f}".encode()
    )
    # The lock ends with the transaction, also behind PgBouncer.
    connection.rows("SELECT pg_advisory_xact_lock(?)", (MIGRATION_LOCK,))
    if not _has_schema(connection):
        _refuse_foreign(connection)
        connection.execute(
            "CREATE TABLE schema_migrations ("
            " number integer NOT NULL PRIMARY KEY, works_with integer NOT NULL)"
        )
    for migration in migrate.find_due(known, applied_migrations(connection)):
        connection.deadline = time.monotonic() + MIGRATION_MAX_S
        connection.execute(migration.sql.encode())
        connection.deadline = time.monotonic() + ANSWER_MAX_S
        connection.rows(
            "INSERT INTO schema_migrations (number, works_with) VALUES (?, ?)",
            (migration.number, migration.works_with),
        )
    if copy_of is not None and not has_table(connection, UNFINISHED_COPY):
        connection.execute(
            f"CREATE TABLE {UNFINISHED_COPY} (source text NOT NULL, audited_before text NOT NULL)"
        )
        connection.rows(f"INSERT INTO {UNFINISHED_COPY} VALUES (?, '')", (copy_of,))  # noqa: S608 - a constant of ours
    connection.execute("COMMIT")


def _is_up_to_date(connection: Connection, known: list[Migration]) -> bool:
    return _has_schema(connection) and not migrate.find_due(known, applied_migrations(connection))


def _has_schema(connection: Connection) -> bool:
    return has_table(connection, "schema_migrations")


def _refuse_foreign(connection: Connection) -> None:
    for table in _OWN_TABLES:
        if has_table(connection, table):
            raise StoreRefused(
                f"the database has a table {table!r} that is not one of orderapi; use another"
                " database"
            )
