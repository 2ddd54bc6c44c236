"""The one connection of a copy: its transactions, and how the errors of the driver become ours."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from orderapi.errors import FileRefused
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.postgres import start
from orderapi.store.postgres.connection import Connection
from orderapi.store.postgres.failures import Verdict, reason, store_unavailable, verdict_on
from orderapi.store.postgres.servers import conninfo
from orderapi.store.postgres.session import Sessions, failure_of_warning
from orderapi.store.statements.execution import Execute, Parameters, Row

# The name under which the server shows the connection of a copy. A service has another one.
APPLICATION = "orderapi copy"
# A server that does not answer is tried again for this time, while an operator waits.
REACH_MAX_S = 3.0
# The server has this time for one statement. To count a hundred million rows takes a minute.
STATEMENT_MAX_S = 600.0
# A service that has just ended has this time to disappear from the server.
GONE_MAX_S = 2.0

_POLL_S = 0.1
# These settings last until the end of the transaction, and replace those of the role and of the
# database. The times are in milliseconds, and 0 means no limit. None of these statements is a
# query: the first query of a transaction may take its snapshot, and a caller may have to lock
# tables before that.
_BEGIN = (
    "BEGIN ISOLATION LEVEL {isolation} READ WRITE; SET LOCAL synchronous_commit = on;"
    " SET LOCAL client_min_messages = notice; SET LOCAL statement_timeout = 0;"
    " SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = 2000"
)
_SERVICES = (
    "SELECT COUNT(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = ?"
)


def sessions_of(url: PostgresUrl) -> Sessions:
    """Give the sessions of a copy. The database may be an unfinished copy."""
    return Sessions(url, migrate.load("postgres"), application=APPLICATION, for_copy=True)


def connect_with_retries(url: PostgresUrl) -> Connection:
    """Open a connection to a database that may have no tables yet.

    Raises StoreRefused as `start.connect_with_retries` does.
    """
    return start.connect_with_retries(url, APPLICATION, REACH_MAX_S)


@contextmanager
def open_connection(url: PostgresUrl) -> Iterator[Connection]:
    """Open a connection to the primary.

    Raises StoreUnavailable as `Sessions.open_for_writing` does.
    """
    with closing(sessions_of(url).open_for_writing()) as connection:
        yield connection


@contextmanager
def transaction(connection: Connection, isolation: str = "READ COMMITTED") -> Iterator[None]:
    """Run the block in a transaction that is durable at the end of the block.

    With REPEATABLE READ, the first query of the block takes the snapshot of the transaction.

    Raises FileRefused if the server refuses a row, if another process has locked a table, or if the
    role lacks a right. Raises StoreUnavailable if anything else fails.
    """
    connection.deadline = time.monotonic() + STATEMENT_MAX_S
    connection.notices.clear()
    try:
        connection.execute(_BEGIN.format(isolation=isolation).encode())
        yield
        connection.deadline = time.monotonic() + STATEMENT_MAX_S
        connection.execute("COMMIT")
    except BaseException as error:
        if not connection.closed:
            connection.roll_back()
        if isinstance(error, psycopg.Error | UnicodeEncodeError):
            raise translate_error(error) from error
        raise
    if connection.notices:
        raise failure_of_warning(connection)


def translate_error(error: Exception) -> Exception:
    """Translate an error of the driver into FileRefused or StoreUnavailable."""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return FileRefused("another process writes to the database: stop it first")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return FileRefused(f"{reason(error)}: {start.RUN_AS_OWNER}")
    if verdict_on(error) is Verdict.BAD_ROW:
        return FileRefused(f"PostgreSQL refuses a row: {reason(error)}")
    return store_unavailable(error)


def executor_of(connection: Connection) -> Execute:
    """Give the function that runs the statements of `CopyReads` on a connection."""

    def rows(sql: str, parameters: Parameters) -> list[Row]:
        connection.deadline = time.monotonic() + STATEMENT_MAX_S
        try:
            return connection.rows(sql, parameters)
        except psycopg.Error as error:
            raise translate_error(error) from error

    return rows


def refuse_served(connection: Connection, url: PostgresUrl) -> None:
    """Raise FileRefused if a service, or another command, has the database open.

    A service is found by the name of its connections, so this process must use the same URL. A
    pooler such as PgBouncer gives the server's connections to others while a service is idle.
    Therefore FileRefused is raised for a URL that leads through a pooler, too.
    """
    name = conninfo(url)["application_name"]
    give_up_at = time.monotonic() + GONE_MAX_S
    execute = executor_of(connection)
    ((server_process,),) = execute("SELECT pg_backend_pid()", ())
    # A pooler sends libpq a process id of its own when a connection begins.
    if server_process != connection.info.backend_pid:
        raise FileRefused(
            f"{url} leads through a pooler of connections such as PgBouncer, which hides the"
            " processes that have the database open: give the URL of the server itself"
        )
    while True:
        # Without this, a transaction always sees the sessions of its first query.
        execute("SELECT pg_stat_clear_snapshot()", ())
        ((services,),) = execute(_SERVICES, (name,))
        if not services:
            return
        if time.monotonic() > give_up_at:
            raise FileRefused(
                f"a process has {url} open ({services} connections with the name '{name}'): stop"
                " every service, relay and console that uses it, then run RECONNECT in the console"
                " of PgBouncer if there is one"
            )
        time.sleep(_POLL_S)
