"""A lock between processes: `flock(2)` on a file of its own, beside the database.

The file is never deleted or renamed. It is not the database itself, because SQLite loses its own
locks when this process closes any descriptor of the database.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orderapi.errors import StoreRefused, StoreUnavailable

# A command waits this long for the lock. A process that writes holds it for milliseconds, but a
# start holds it during its migrations.
COMMAND_WAIT_MAX_S = 2.0

_POLL_S = 0.05
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class LockFile:
    """The lock on the file `path`. The kernel queues the processes that wait for it.

    `database` is the path of the database: the lock file gets the owner of that.
    """

    def __init__(self, path: Path, database: Path) -> None:
        self._path = path
        self._database = database
        self._descriptor: int | None = None

    def exists(self) -> bool:
        """Tell whether any process has ever wanted the lock."""
        return self._path.exists()

    def try_take(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free, and tell whether this process has it now.

        A `shared` lock excludes only processes that want it for themselves alone. Raises
        StoreUnavailable if the file cannot be opened.
        """
        try:
            return self._try_take(fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except OSError as error:
            raise self._store_unavailable(error) from error

    def take(self) -> None:
        """Take the lock. This waits in the kernel, and has no time-out.

        Raises StoreUnavailable if the file cannot be opened.
        """
        try:
            fcntl.flock(self._open(), fcntl.LOCK_EX)
        except OSError as error:
            raise self._store_unavailable(error) from error

    def release(self) -> None:
        """Give the lock to the next process that waits. Without the lock, this does nothing."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextmanager
    def hold_within(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock, for a start, which must say why it does not continue.

        Raises StoreRefused if the lock is not free in time, or if the file cannot be opened.
        """
        give_up_at = time.monotonic() + timeout_s
        try:
            while not self._try_take():
                if time.monotonic() > give_up_at:
                    raise StoreRefused(f"another process holds {self._path}")
                time.sleep(_POLL_S)
        except OSError as error:
            raise StoreRefused(f"cannot write {self._path}: {error.strerror}") from error
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Close the file, which also releases the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try_take(self, kind: int = fcntl.LOCK_EX) -> bool:
        try:
            fcntl.flock(self._open(), kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _open(self) -> int:
        if self._descriptor is not None and not self._is_in_place(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = os.open(self._path, _FLAGS, 0o600)
            if os.geteuid() == 0:
                # The service must be able to open a file that root has made. SQLite does the same.
                os.fchown(self._descriptor, *owner_of(self._database))
        return self._descriptor

    def _is_in_place(self, descriptor: int) -> bool:
        """Tell whether the open file still has its name. Others lock the file of that name."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))  # noqa: PTH116 - once per batch
        except FileNotFoundError:
            return False

    def _store_unavailable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(f"lock file {self._path.name}: {error.strerror}")


def owner_of(path: Path) -> tuple[int, int]:
    """Return the user and the group of a database, or of its directory if there is none yet."""
    try:
        status = path.stat()
    except FileNotFoundError:
        status = path.parent.stat()
    return status.st_uid, status.st_gid
