"""When the last backups of the store were made."""

from orderapi.maintenance_records import LastBackup
from orderapi.store.statements.execution import Execute


class BackupReads:
    """The statements that read the last backups."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_last(self) -> LastBackup:
        """Find how long the last backup took, and when it and the last verified one were made."""
        (row,) = self._execute("SELECT made_at, verified_at, took_ms FROM last_backup", {})
        return LastBackup(*row)


class BackupWrites(BackupReads):
    """The statements that read and write the last backups. New values get the time `now`."""

    def __init__(self, execute: Execute, now: str) -> None:
        super().__init__(execute)
        self._now = now

    def note_backup(self, took_ms: int, *, is_verified: bool) -> None:
        """Record that a backup was made now, and whether its audit had no findings.

        `took_ms` is how long the backup and its audit took, in milliseconds.
        """
        self._execute(
            "UPDATE last_backup SET made_at = :now, took_ms = :took_ms",
            {"now": self._now, "took_ms": took_ms},
        )
        if is_verified:
            self._execute("UPDATE last_backup SET verified_at = :now", {"now": self._now})
