"""The maintenance of a store in a database of PostgreSQL: the audit, backups, and restores.

A backup is a SQLite file with the same tables, so every reader of backups can read this one too.
It shows one moment. PostgreSQL's own tools archive the WAL, for a recovery to any other moment.
"""

from contextlib import AbstractContextManager, closing
from pathlib import Path

from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.copying import copy_all
from orderapi.store.maintenance import Auditable, OnProgress, Restore
from orderapi.store.postgres import restore
from orderapi.store.postgres.auditable import PostgresAuditable
from orderapi.store.postgres.copy_source import PostgresCopySource
from orderapi.store.postgres.session import Sessions
from orderapi.store.sqlite import start as sqlite_start
from orderapi.store.sqlite.auditable import SqliteAuditable
from orderapi.store.sqlite.copy_target import SqliteCopyWriter


class PostgresMaintenance(PostgresAuditable):
    """See `maintenance.Maintenance`."""

    def __init__(self, url: PostgresUrl) -> None:
        super().__init__(Sessions(url, migrate.load("postgres")))
        self._url = url

    def is_backup(self) -> bool:
        """See `maintenance.Maintenance`. A backup is a file, and this is a database."""
        return False

    def back_up(self, file: Path, on_progress: OnProgress) -> None:
        """See `maintenance.Maintenance`. The server keeps old rows until the copy ends."""
        mark = sqlite_start.POSTGRES_BACKUP_ID
        with (
            PostgresCopySource(self._url, is_served=True).snapshot() as snapshot,
            closing(SqliteCopyWriter(file, mark, is_resumable=False)) as writer,
        ):
            copy_all(snapshot.reads, writer, on_progress)

    def open_backup(self, file: Path) -> AbstractContextManager[Auditable]:
        """See `maintenance.Maintenance`."""
        return closing(SqliteAuditable(file, immutable=True))

    def begin_restore(self, *, force: bool) -> AbstractContextManager[Restore]:
        """See `maintenance.Maintenance`."""
        return restore.begin_restore(self._url, force=force)
