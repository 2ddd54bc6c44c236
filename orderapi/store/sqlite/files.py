"""The files of a SQLite database: which file it is, and what is beside it under its name."""

import os
from pathlib import Path

from orderapi.durable import sync_directory
from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.records import StoreUsage
from orderapi.store.sqlite.lock_file import LockFile

Identity = tuple[int, int]


class DatabaseFiles:
    """A database file and what is beside it.

    Every write and every checkpoint of every process happens under `lock`.
    """

    def __init__(self, path: Path) -> None:
        # A symbolic link must lead to the same lock and to the same WAL.
        self.path = path.resolve()
        self.lock = LockFile(beside(self.path, "-lock"), self.path)
        self._leases: dict[str, LockFile] = {}
        self._wal_path = beside(self.path, "-wal")
        self._used: Identity | None = None

    def identity(self) -> Identity:
        """Tell which file the path names now.

        Raises StoreUnavailable if there is no file, because orders that are written to a deleted
        file are lost. Raises it also if the file is not the one in use, because SQLite would mix
        the WAL of the one into the other.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise StoreUnavailable(f"database file: {error.strerror}") from error
        found = status.st_dev, status.st_ino
        if self._used not in (None, found):
            raise StoreUnavailable(
                "database file: another file is in its place; restart the service to use that one"
            )
        return found

    def use(self, identity: Identity) -> None:
        """Stay with this file: from now on `identity` refuses any other file in its place."""
        self._used = identity

    def refuse_unusable(self) -> None:
        """Refuse a start on files that SQLite itself would accept without a message.

        Raises StoreRefused if the database is missing while its WAL is there, because SQLite would
        delete the WAL and the transactions in it. Raises it also if the database cannot be written.
        """
        if size_of(self.path) == 0 and size_of(self._wal_path) > 0:
            raise StoreRefused(
                f"{self.path} is gone, but {self._wal_path.name} is there; they belong together: "
                "put the database back, or restore a backup with --force"
            )
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise StoreRefused(f"cannot write {self.path}")

    def lease(self, name: str) -> bool:
        """Take the lease `name`, as `contract.Store.lease` promises.

        Each lease has a lock file of its own, so that its holder keeps nobody from writing.
        """
        if name not in self._leases:
            self._leases[name] = LockFile(beside(self.path, f"-{name}-lock"), self.path)
        return self._leases[name].try_take()

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
        """Close the lock files, which also gives up the lock and the leases."""
        for lock in (self.lock, *self._leases.values()):
            lock.close()


def beside(path: Path, suffix: str) -> Path:
    """Name a file that lies beside a database, under its name and a suffix."""
    return path.with_name(path.name + suffix)


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, or 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
