"""The maintenance of a store in a database of PostgreSQL: the audit.

PostgreSQL brings its own tools for backups. They also make a backup of which the moment can be
chosen afterwards (point-in-time recovery).
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from orderapi.errors import StoreRefused
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.maintenance import Auditable, OnProgress, Restore
from orderapi.store.postgres.auditable import PostgresAuditable
from orderapi.store.postgres.session import Sessions


class PostgresMaintenance(PostgresAuditable):
    """See `maintenance.Maintenance`."""

    def __init__(self, url: PostgresUrl) -> None:
        super().__init__(Sessions(url, migrate.load("postgres")))

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


def _refuse() -> NoReturn:
    raise StoreRefused(
        "use the tools of PostgreSQL for its backups: pg_dump and pg_restore, or pg_basebackup"
    )
