"""Records the last backup and the last audit in a store, for the metrics and for the console."""

import time
from collections.abc import Callable

from orderapi.errors import StoreUnavailable
from orderapi.maintenance_records import AuditResult
from orderapi.store.contract import Store, WriteTx

# The command has already done its work. It must not wait long for a store that cannot be written.
NOTE_MAX_S = 5.0


def note_backup(store: Store, took_ms: int, *, is_verified: bool) -> str | None:
    """Record in a store that a backup of it was made now, and whether its audit had no findings.

    `took_ms` is how long the backup and its audit took, in milliseconds.

    Returns None, or the reason why the store could not record it. The backup is complete anyway.
    """
    return _note(store, lambda tx: tx.backups.note_backup(took_ms, is_verified=is_verified))


def note_audit(store: Store, result: AuditResult) -> str | None:
    """Record in a store that an audit of it has ended now, and with which result.

    Returns None, or the reason why the store could not record it. The result is right anyway.
    """
    return _note(store, lambda tx: tx.last_audit.note(result))


def _note(store: Store, write: Callable[[WriteTx], None]) -> str | None:
    try:
        store.write(write, time.monotonic() + NOTE_MAX_S)
    except StoreUnavailable as error:
        return error.reason
    return None
