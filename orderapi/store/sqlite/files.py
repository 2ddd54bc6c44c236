"""The files around a SQLite database: which file it is, and the lock between processes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orderapi.durable import sync_directory
from orderapi.errors import StoreRefused, StoreUnavailable

Identity = tuple[int, int]

_POLL_S = 0.05
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class DatabaseFiles:
    """A database file and the lock file beside it.

    Every write and every checkpoint of every process happens under `flock(2)` on
    `<database>-lock`. The kernel queues those who wait, which SQLite's own busy handler does not.
    The lock is not the database itself: closing any descriptor of that drops SQLite's own locks.
    The lock file is never deleted or renamed.
    """

    def __init__(self, path: Path) -> None:
        # Through a symbolic link there must be the same lock and the same WAL.
        self.path = path.resolve()
        self._lock_path = beside(self.path, "-lock")
        self._wal_path = beside(self.path, "-wal")
        self._relay_lock_path = beside(self.path, "-relay-lock")
        self._lock_fd: int | None = None
        self._relay_lock_fd: int | None = None
        self._used: Identity | None = None

    def identity(self) -> Identity:
        """Tell which file the path names now.

        Raises StoreUnavailable if there is none, since writing on to a deleted file would lose
        orders; or another than the one in use, since SQLite would mix that one's WAL into it.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise StoreUnavailable(f"database file: {error.strerror}") from error
        found = status.st_dev, status.st_ino
        if self._used not in (None, found):
            raise StoreUnavailable("database file: another one is in its place; restart to use it")
        return found

    def use(self, identity: Identity) -> None:
        """Stay with this file from now on: `identity` takes no other one in its place."""
        self._used = identity

    def refuse_unusable(self) -> None:
        """Refuse what SQLite itself would take without a word; for a start.

        Raises StoreRefused if the database is gone while its WAL is still there, which SQLite would
        delete along with what is committed in it; or if it can only be read.
        """
        if size_of(self.path) == 0 and size_of(self._wal_path) > 0:
            raise StoreRefused(
                f"{self.path} is gone, but {self._wal_path.name} is there; they belong together: "
                "put the database back, or restore a backup with --force"
            )
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise StoreRefused(f"cannot write {self.path}")

    def try_lock(self) -> bool:
        """Take the lock between processes if it is free, and tell whether it was.

        Raises StoreUnavailable if there is no such lock to be had.
        """
        try:
            return self._try_lock()
        except OSError as error:
            raise StoreUnavailable(f"lock file: {error.strerror}") from error

    def lock(self) -> None:
        """Take the lock between processes; waits in the kernel, without a time-out.

        Raises StoreUnavailable if there is no such lock to be had.
        """
        try:
            fcntl.flock(self._open_lock(), fcntl.LOCK_EX)
        except OSError as error:
            raise StoreUnavailable(f"lock file: {error.strerror}") from error

    def unlock(self) -> None:
        """Give the lock to whoever waits for it; nothing happens if it is not held."""
        if self._lock_fd is not None:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    @contextmanager
    def locked_within(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock between processes, for a start that should say why it does not go on.

        Raises StoreRefused if the lock is not free in time or the directory cannot be written.
        """
        give_up_at = time.monotonic() + timeout_s
        try:
            while not self._try_lock():
                if time.monotonic() > give_up_at:
                    raise StoreRefused(f"another process holds {self._lock_path}")
                time.sleep(_POLL_S)
        except OSError as error:
            raise StoreRefused(f"cannot write {self._lock_path}: {error.strerror}") from error
        try:
            yield
        finally:
            self.unlock()

    def claim_delivery(self) -> bool:
        """Take the lock of the one process that delivers events, until `close`; False if taken.

        A lock of its own: whoever holds it keeps nobody from writing. Raises StoreUnavailable.
        """
        if self._relay_lock_fd is not None:
            return True
        try:
            descriptor = self._opened(self._relay_lock_path)
        except OSError as error:
            raise StoreUnavailable(f"relay lock file: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._relay_lock_fd = descriptor
        return True

    def sync_wal(self) -> None:
        """Put on stable storage what a process that was killed had written to the WAL, not synced.

        Whoever opens the database first after it takes those transactions for committed, and
        replays of theirs are answered without a write of their own. Raises StoreUnavailable.
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
        """Make a new database's name survive a power cut."""
        sync_directory(self.path.parent)

    def close(self) -> None:
        """Close the lock files, which also unlocks them."""
        self._close_lock()
        if self._relay_lock_fd is not None:
            os.close(self._relay_lock_fd)
            self._relay_lock_fd = None

    def _close_lock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _open_lock(self) -> int:
        if self._lock_fd is not None and not self._is_current(self._lock_fd):
            self._close_lock()
        if self._lock_fd is None:
            self._lock_fd = self._opened(self._lock_path)
        return self._lock_fd

    def _opened(self, lock_path: Path) -> int:
        descriptor = os.open(lock_path, _LOCK_FLAGS, 0o600)
        if os.geteuid() == 0:
            # As SQLite does with its files: what root makes, the service must be able to open.
            os.fchown(descriptor, *owner_of(self.path))
        return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._lock_path.stat())
        except FileNotFoundError:
            return False

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._open_lock(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def beside(path: Path, suffix: str) -> Path:
    """Name what lies beside a database under its name and a suffix."""
    return path.with_name(path.name + suffix)


def owner_of(path: Path) -> tuple[int, int]:
    """Give the user and group that a database belongs to, or will: then those of its directory."""
    try:
        status = path.stat()
    except FileNotFoundError:
        status = path.parent.stat()
    return status.st_uid, status.st_gid


def size_of(path: Path) -> int:
    """Give a file's size in bytes; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
