"""The maintenance of a store in a database of PostgreSQL: the audit.

PostgreSQL brings its own tools for backups. They also make a backup of which the moment can be
chosen afterwards (point-in-time recovery).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn, TypeVar

from orderapi.errors import StoreRefused
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.maintenance import Auditable, OnProgress, Restore
from orderapi.store.postgres.pool import Pool
from orderapi.store.postgres.readers import Readers
from orderapi.store.postgres.session import Sessions
from orderapi.store.statements.transaction import ReadTx

T = TypeVar("T")

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


class PostgresMaintenance:
    """See `maintenance.Maintenance`."""

    def __init__(self, url: PostgresUrl) -> None:
        sessions = Sessions(url, migrate.load("postgres"))
        self._pool = Pool(sessions.for_reading)
        self._readers = Readers(self._pool)

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `maintenance.Auditable`."""
        return self._readers.run(fn, deadline)

    def check(self) -> Iterator[str]:
        """See `maintenance.Auditable`. The pages themselves are checked by `pg_amcheck`."""
        for finding, query in _CHECKS.items():
            for (name,) in self._readers.rows(query):
                yield finding.format(name)

    def is_backup(self) -> bool:
        """See `maintenance.Maintenance`. A backup is a file, and this is a database."""
        return False

    def back_up(self, file: Path, on_progress: OnProgress) -> None:
        """See `maintenance.Maintenance`. Raises StoreRefused."""
        del file, on_progress
        _refuse()

    def backup_in(self, file: Path) -> AbstractContextManager[Auditable]:
        """See `maintenance.Maintenance`. Raises StoreRefused."""
        del file
        _refuse()

    def restoring(self, *, force: bool) -> AbstractContextManager[Restore]:
        """See `maintenance.Maintenance`. Raises StoreRefused."""
        del force
        _refuse()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def _refuse() -> NoReturn:
    raise StoreRefused(
        "use the tools of PostgreSQL for its backups: pg_dump and pg_restore, or pg_basebackup"
    )
