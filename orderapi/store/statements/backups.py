"""When the last backups of the store were made."""

from orderapi.records import LastBackup
from orderapi.store.statements.execution import Execute


class BackupReads:
    """What is read of the last backups."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_last(self) -> LastBackup:
        """Find when the last backup was made, and when the last one that had no findings."""
        (row,) = self._execute("SELECT made_at, verified_at FROM last_backup", {})
        return LastBackup(*row)


class BackupWrites(BackupReads):
    """What is read and written of the last backups, at the time `now`."""

    def __init__(self, execute: Execute, now: str) -> None:
        super().__init__(execute)
        self._now = now

    def note_backup(self, *, is_verified: bool) -> None:
        """Record that a backup was made now, and whether its audit had no findings."""
        self._execute("UPDATE last_backup SET made_at = :now", {"now": self._now})
        if is_verified:
            self._execute("UPDATE last_backup SET verified_at = :now", {"now": self._now})
