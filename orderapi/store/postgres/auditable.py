"""A whole database that can be read and checked: one in use, or an unfinished copy."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from orderapi.store.postgres.pool import Pool
from orderapi.store.postgres.readers import CONNECTIONS_MAX, Readers
from orderapi.store.postgres.session import Sessions
from orderapi.store.statements.transaction import ReadTx

T = TypeVar("T")

# One statement of the audit reads the ids of all events.
READ_MAX_S = 600.0
# What our tables need so that the engine itself keeps its promises. Each query gives the names of
# what is missing or turned off.
_CHECKS = {
    "index {} is not valid; run REINDEX": (
        "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT (indisvalid AND indisready)"
        " AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace ="
        " current_schema()::regnamespace) ORDER BY 1"
    ),
    "constraint {} is not valid; run ALTER TABLE ... VALIDATE CONSTRAINT": (
        "SELECT conname FROM pg_constraint WHERE NOT convalidated AND connamespace ="
        " current_schema()::regnamespace ORDER BY 1"
    ),
    "trigger {} is missing or not ENABLE ALWAYS; the ledger is not protected": (
        "SELECT name FROM unnest(ARRAY['ledger_is_never_changed', 'ledger_is_never_truncated'])"
        " AS name WHERE NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = name"
        " AND tgrelid = 'ledger'::regclass AND tgenabled = 'A') ORDER BY 1"
    ),
}


class PostgresAuditable:
    """See `maintenance.Auditable`."""

    def __init__(self, sessions: Sessions) -> None:
        self._pool = Pool(sessions.open_for_reading, CONNECTIONS_MAX)
        self._readers = Readers(self._pool)

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `maintenance.Auditable`."""
        return self._readers.run(fn, deadline or time.monotonic() + READ_MAX_S)

    def check(self) -> Iterator[str]:
        """See `maintenance.Auditable`. The pages themselves are checked by `pg_amcheck`."""
        for finding, query in _CHECKS.items():
            for (name,) in self._readers.rows(query):
                yield finding.format(name)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
