"""The files of a SQLite database: which file it is, and what is beside it under its name."""

import os
import time
from pathlib import Path

from orderapi.durable import sync_directory
from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.maintenance_records import StoreUsage
from orderapi.store.sqlite.file_names import (
    LOCK_SUFFIX,
    forget_unfinished_restore,
    side_file,
    size_of,
    why_linked,
    why_misplaced,
    why_mounted,
)
from orderapi.store.sqlite.lease_file import LeaseFile
from orderapi.store.sqlite.lock_file import LockFile

# The device and the number of a file, which stay the same under another name.
Identity = tuple[int, int]
# These values of a database file without a WAL change whenever a process writes to it.
Stamp = tuple[int, int, int, int]

# The header of a WAL. A WAL that is not longer contains no transaction.
_WAL_HEADER_BYTES = 32
# Whether a file is a mount point is read from a table, which takes longer than a batch may.
_MOUNT_CHECK_PAUSE_S = 1.0


class DatabaseFiles:
    """A database file and what is beside it.

    Every write and every checkpoint of every process happens under `lock`.
    """

    def __init__(self, path: Path) -> None:
        # A symbolic link must lead to the same lock and to the same WAL.
        self.path = path.resolve()
        self.lock = LockFile(side_file(self.path, LOCK_SUFFIX), self.path)
        self._wal_path = side_file(self.path, "-wal")
        self._index_path = side_file(self.path, "-shm")
        self._used: Identity | None = None
        self._used_beside: list[Identity | None] = []
        self._mount_checked_at = float("-inf")

    def identity(self) -> Identity:
        """Tell which file the path names now.

        Raises StoreUnavailable if there is no file, because orders that are written to a deleted
        file are lost. Raises it also if the file is not the one in use, because SQLite would mix
        the WAL of the one into the other.
        """
        return self._check_identity(self._status())

    def use(self, identity: Identity) -> None:
        """Use this file from now on: `identity` then refuses any other file in its place."""
        self._used = identity

    def use_wal(self) -> None:
        """Use the WAL that exists now: `refuse_unsafe_write` then refuses any other one."""
        self._used_beside = self._identities_beside()

    def refuse_unsafe_write(self) -> None:
        """Refuse to write where another process would not find what this process has written.

        Raises StoreUnavailable as `identity` does, and also if the WAL in use was deleted, if the
        database has a second name, or if it has become a mount point.
        """
        status = self._status()
        self._check_identity(status)
        if self._used_beside and self._used_beside != self._identities_beside():
            raise StoreUnavailable(
                "the WAL or its index was deleted or replaced while it was in use; restart the"
                " service"
            )
        why = why_linked(self.path, status) if status.st_nlink != 1 else None
        if time.monotonic() - self._mount_checked_at > _MOUNT_CHECK_PAUSE_S:
            why = why or why_mounted(self.path)
            self._mount_checked_at = time.monotonic()
        if why:
            self._mount_checked_at = float("-inf")
            raise StoreUnavailable(f"database file: {why}")

    def why_unsafe_to_open(self) -> str | None:
        """Say in one line why no process may open the database now, or None if it may."""
        if self._has_lost_its_wal():
            return (
                "the WAL is gone, but its index is there; stop every process that uses"
                f" {self.path}, then put {self._wal_path.name} back, or delete"
                f" {self._index_path.name} to continue without the transactions of the WAL"
            )
        return why_misplaced(self.path)

    def stamp(self) -> Stamp | None:
        """Return a value that changes when a process writes, for a reader that has no lock.

        The result is None if a part of what was committed may be outside of the database file.
        """
        if size_of(self._wal_path) > _WAL_HEADER_BYTES or size_of(side_file(self.path, "-journal")):
            return None
        status = self._status()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def refuse_unusable(self) -> None:
        """Refuse a start on files that SQLite itself would accept without a message.

        To be called under the lock. Raises StoreRefused if the database is missing while its WAL is
        there, because SQLite would delete the WAL and the transactions in it. Raises it also if the
        database cannot be written, or if another process might not find its WAL.
        """
        forget_unfinished_restore(self.path)
        if size_of(self.path) == 0 and size_of(self._wal_path) > 0:
            raise StoreRefused(
                f"{self.path} is gone, but {self._wal_path.name} is there; they belong together: "
                "put the database back, or restore a backup with --force"
            )
        why = self.why_unsafe_to_open()
        if why:
            raise StoreRefused(why)
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise StoreRefused(f"cannot write {self.path}")

    def _status(self) -> os.stat_result:
        try:
            return os.stat(self.path)  # noqa: PTH116 - this runs for every request
        except OSError as error:
            raise StoreUnavailable(f"database file: {error.strerror}") from error

    def _check_identity(self, status: os.stat_result) -> Identity:
        found = status.st_dev, status.st_ino
        if self._used not in (None, found):
            raise StoreUnavailable(
                "database file: another file is in its place; restart the service to use that one"
            )
        return found

    def _has_lost_its_wal(self) -> bool:
        # SQLite makes the WAL before its index, and deletes the index before the WAL.
        index = _identity_of(self._index_path)
        return (
            index is not None
            and size_of(self._index_path) > 0
            and not self._wal_path.exists()
            and _identity_of(self._index_path) == index
        )

    def _identities_beside(self) -> list[Identity | None]:
        return [_identity_of(self._wal_path), _identity_of(self._index_path)]

    def lease_file(self, name: str) -> LeaseFile:
        """Return the lock file of a lease. It is not `lock`, so its holder stops no writer."""
        return LeaseFile(side_file(self.path, f"-{name}-lock"), self.path)

    def sync_wal(self) -> None:
        """Put on stable storage what a killed process had written to the WAL without an fsync.

        The first process that opens the database treats those transactions as committed. It
        answers replays of them without a write of its own. Raises StoreUnavailable if this fails.
        """
        try:
            descriptor = os.open(self._wal_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnavailable(f"WAL: {error.strerror}") from error
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            raise StoreUnavailable(f"WAL: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def sync_directory(self) -> None:
        """Make the name of a new database survive a power failure."""
        sync_directory(self.path.parent)

    def usage(self) -> StoreUsage:
        """Return the sizes of the database and of its WAL, and what is free on their disk.

        Raises StoreUnavailable if the file system does not tell.
        """
        try:
            disk = os.statvfs(self.path.parent)
            return StoreUsage(
                self.path.stat().st_size,
                size_of(self._wal_path),
                disk.f_bavail * disk.f_frsize,
            )
        except OSError as error:
            raise StoreUnavailable(f"database file: {error.strerror}") from error

    def close(self) -> None:
        """Close the lock file, which also gives up the lock."""
        self.lock.close()


def _identity_of(path: Path) -> Identity | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - this runs for every batch
    except OSError:
        return None
    return status.st_dev, status.st_ino
