"""The maintenance of a store in one SQLite file."""

from contextlib import AbstractContextManager, closing
from pathlib import Path

from orderapi.store.maintenance import Auditable, OnProgress, Restore
from orderapi.store.sqlite import restore
from orderapi.store.sqlite.auditable import SqliteAuditable
from orderapi.store.sqlite.copy import copy


class SqliteMaintenance(SqliteAuditable):
    """See `maintenance.Maintenance`."""

    def is_backup(self) -> bool:
        """See `maintenance.Maintenance`. A service makes the lock file before it writes."""
        return not self._database.files.lock.exists()

    def back_up(self, file: Path, on_progress: OnProgress) -> None:
        """See `maintenance.Maintenance`. `copy.copy` says what this costs."""
        self._readers.run(lambda connection: copy(connection, file, on_progress))

    def open_backup(self, file: Path) -> AbstractContextManager[Auditable]:
        """See `maintenance.Maintenance`."""
        return closing(SqliteAuditable(file, immutable=True))

    def begin_restore(self, *, force: bool) -> AbstractContextManager[Restore]:
        """See `maintenance.Maintenance`."""
        return restore.begin_restore(self._database.files.path, force=force)
