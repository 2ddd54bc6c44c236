"""How the service treats each failure of PostgreSQL: it retries, reconnects, or reports an error.

Errors are told apart by their SQLSTATE (postgresql.org/docs/current/errcodes-appendix.html) and
never by their message, which depends on the language of the server.
"""

from enum import Enum

import psycopg

from orderapi.errors import StoreCorrupt, StoreFailure, StoreUnavailable


class Verdict(Enum):
    """What can be done after a failure."""

    # The outcome is not known, or this server no longer takes writes: repeat it on another
    # connection.
    RECONNECT = "reconnect"
    # The server has undone everything, and a repetition may succeed at once.
    REPEAT = "repeat"
    # The server has undone everything, because of what one row contains. Or this program has a
    # bug, which the driver has detected.
    BAD_ROW = "bad row"
    # The server has undone everything, or has done nothing. A repetition would fail again now.
    REFUSED = "refused"


# Connections that end (class 08, 57P01 to 57P05, 25P03 and 25P04), a server that has become a
# standby (25006, and 0A000 for a transaction that begins as READ WRITE), and a statement of which
# the server does not know whether it was executed (40003).
_RECONNECT = ("08", "57P0", "25P03", "25P04", "25006", "0A000", "40003")
# A conflict with a concurrent transaction, and a deadlock.
_REPEAT = ("40001", "40P01")
# Data that a type or a constraint refuses.
_BAD_ROW = ("22", "23")
# The driver itself raises these, before it sends anything: for a text that PostgreSQL cannot store,
# and for bugs of this program.
_OUR_FAULTS = (
    psycopg.DataError,
    psycopg.InterfaceError,
    psycopg.NotSupportedError,
    psycopg.ProgrammingError,
    UnicodeEncodeError,
)
# Tables, columns, functions or rights are missing, or there is no such database or schema.
_FOREIGN = ("42", "3D", "3F")
# Damaged data, and a damaged index.
_DAMAGED = ("XX001", "XX002")


def verdict_on(error: Exception) -> Verdict:
    """Tell what can be done after an error of the driver."""
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is None:
        return Verdict.BAD_ROW if isinstance(error, _OUR_FAULTS) else Verdict.RECONNECT
    if sqlstate.startswith(_RECONNECT) or _ends_connection(error):
        return Verdict.RECONNECT
    if sqlstate in _REPEAT:
        return Verdict.REPEAT
    return Verdict.BAD_ROW if sqlstate.startswith(_BAD_ROW) else Verdict.REFUSED


def store_unavailable(error: Exception) -> StoreUnavailable:
    """Translate an error of the driver into ours."""
    sqlstate = getattr(error, "sqlstate", None) or ""
    if sqlstate in _DAMAGED:
        return StoreCorrupt(reason(error), StoreFailure.DAMAGED)
    if sqlstate.startswith(_FOREIGN):
        return StoreCorrupt(reason(error), StoreFailure.FOREIGN)
    return StoreUnavailable(reason(error))


def reason(error: Exception) -> str:
    """Return the SQLSTATE of an error, if it has one, and its message in one line, for the log."""
    sqlstate = getattr(error, "sqlstate", None)
    message = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    lines = (message or str(error)).splitlines()
    text = "; ".join(line.strip() for line in lines if line.strip())
    return f"{sqlstate}: {text}" if sqlstate else text


def _ends_connection(error: Exception) -> bool:
    severity = error.diag.severity_nonlocalized if isinstance(error, psycopg.Error) else None
    return severity in ("FATAL", "PANIC")
