"""The servers of a URL: which one is suitable, and how a connection to it is opened."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from orderapi.errors import StoreRefused
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.connection import Connection

# What libpq uses if the URL says nothing else. A machine that has vanished must be noticed within
# the time that a request has. All times are in seconds, but `tcp_user_timeout` is in milliseconds.
_DEFAULTS = {
    "application_name": "orderapi",
    "connect_timeout": "3",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "4000",
}
# The servers of a URL share this time in seconds, so that the last one is tried soon although the
# others are silent. The driver gives each of them at least CONNECT_MIN_S.
OPENING_MAX_S = 9
CONNECT_MIN_S = 2
# How long a server that was reached may take to answer a question about itself, in seconds.
CHECK_MAX_S = 3.0
# The query that tells whether a server is suitable, by the value of `target_session_attrs`.
_SUITABLE = {
    "read-write": "SELECT current_setting('transaction_read_only') = 'off'",
    "primary": "SELECT NOT pg_is_in_recovery()",
}
# The parameters of libpq that have a value for each server.
_LISTS = ("host", "hostaddr", "port")


def connect(
    url: PostgresUrl, session: str, application: str | None = None, first: int = 0
) -> Connection:
    """Open a connection to the first suitable server of `url`.

    `session` says which server is suitable (`target_session_attrs` of libpq): `read-write`,
    `primary` or `any`. The server shows the connection under the name `application`, if one is
    given. The server with the index `first` in the URL is tried before the others. Raises
    psycopg.OperationalError if no suitable server accepts this process.
    """
    named = {} if application is None else {"application_name": application}
    servers = list(_servers(conninfo(url) | {"target_session_attrs": session} | named))
    failures = []
    for index in sorted(range(len(servers)), key=lambda index: index != first):
        try:
            connection = _check_suitable(_open_connection(servers[index]), session)
        except psycopg.Error as error:
            failures.append(error)
        else:
            connection.server = index
            return connection
    # If several servers were tried, the message has the failure of each of them.
    raise (
        failures[0]
        if len(failures) == 1
        else psycopg.OperationalError("; ".join(str(error) for error in failures))
    )


def _open_connection(server: dict[str, Any]) -> Connection:
    return Connection.connect(
        **server,
        autocommit=True,
        prepare_threshold=None,  # Behind PgBouncer, the next statement may run in another session.
    )


def _servers(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parameters of each server, in the order of the URL."""
    lists = {name: str(parameters[name]).split(",") for name in _LISTS if parameters.get(name)}
    number = max(map(len, lists.values()), default=1)
    if any(len(values) not in (1, number) for values in lists.values()):
        yield parameters  # libpq then reports the error
        return
    limit = {"connect_timeout": _connect_timeout(parameters["connect_timeout"], number)}
    for index in range(number):
        own = {name: values[index % len(values)] for name, values in lists.items()}
        yield parameters | own | limit


def _connect_timeout(given: str, servers: int) -> str:
    """Return how many seconds each of the servers may take to accept a connection.

    A host name with several addresses takes this time for each of them.
    """
    try:
        given_s = int(float(given))
    except (ValueError, OverflowError):
        return given  # the driver then reports the error
    share_s = max(CONNECT_MIN_S, OPENING_MAX_S // servers)
    return str(min(given_s, share_s) if given_s > 0 else share_s)


def _check_suitable(connection: Connection, session: str) -> Connection:
    """Ask a server whether it is suitable. Raises psycopg.OperationalError if it is not.

    Behind PgBouncer, libpq gets the state that the server had when PgBouncer connected to it. Since
    then, the server may have become a standby.
    """
    connection.deadline = time.monotonic() + CHECK_MAX_S
    try:
        if session in _SUITABLE and connection.rows(_SUITABLE[session], ()) != [(True,)]:
            raise psycopg.OperationalError(f"the server is not {session}")
    except BaseException:
        connection.drop()
        raise
    return connection


def conninfo(url: PostgresUrl) -> dict[str, Any]:
    """Return the parameters of libpq for a URL. They may contain a password.

    Raises StoreRefused if libpq cannot read the URL.
    """
    try:
        given = conninfo_to_dict(url.text)
    except (psycopg.Error, UnicodeError):
        # The message of libpq may quote the password.
        raise StoreRefused(
            "libpq cannot read this URL; percent-encode each reserved character in a user, a"
            " password or a database, and check the names of the parameters"
        ) from None
    return _DEFAULTS | given | {"client_encoding": "UTF8"}
