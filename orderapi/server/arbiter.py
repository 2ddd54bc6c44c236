"""What this service changes in gunicorn's master process, and which fault each change prevents."""

import os
import time as system_time
from collections.abc import Iterable
from typing import Any

from gunicorn import arbiter, sock

# The master checks the heartbeats of its workers at least once a second. If more than this time
# passes between two checks, the master was suspended, and its workers probably were too.
_CHECK_INTERVAL_MAX_S = 3.0

# The file of each unix socket of this process: its path, its device and its inode.
_own_socket_files: dict[str, tuple[int, int]] = {}


class MonotonicTime:
    """The module `time` as gunicorn's arbiter uses it, with a `time` that no clock change moves.

    When the arbiter stops, it waits until `time.time() + graceful_timeout`. If the wall clock were
    set forward in that time, the arbiter would kill workers that still answer requests.
    """

    time = staticmethod(system_time.monotonic)
    monotonic = staticmethod(system_time.monotonic)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Call `time.sleep`."""
        system_time.sleep(seconds)


def prepare_module() -> None:
    """Replace the clock of gunicorn's arbiter, and the function that closes its sockets."""
    arbiter.time = MonotonicTime
    sock.close_sockets = close_sockets


def wait_for_heartbeats_after_a_pause(master: Any) -> None:
    """Make a master that was itself suspended wait for heartbeats before it kills its workers.

    After SIGSTOP and SIGCONT of the whole service, or after a pause of the machine, the master may
    run first. It would see old heartbeats, and kill workers that are about to continue.
    """
    murder_workers = master.murder_workers
    last_checked_at = system_time.monotonic()

    def murder_unless_suspended() -> None:
        nonlocal last_checked_at
        now = system_time.monotonic()
        was_suspended, last_checked_at = now - last_checked_at > _CHECK_INTERVAL_MAX_S, now
        if not was_suspended:
            murder_workers()

    master.murder_workers = murder_unless_suspended


def note_own_socket_files(listeners: Iterable[Any]) -> None:
    """Store which files are the unix sockets of this process, so that a stop removes no others."""
    for listener in listeners:
        path = listener.getsockname()
        if isinstance(path, str) and path:
            _own_socket_files[path] = _identity(path)


def close_sockets(listeners: Iterable[Any], unlink: bool = True) -> None:
    """Close listeners. With `unlink`, also remove the socket files that this process has made.

    gunicorn's own function removes the file at the path of a socket, even if the file is now the
    socket of another service. If there is no file, that function raises an exception in the middle
    of a stop, and requests are cut off.
    """
    for listener in listeners:
        path = listener.getsockname()
        listener.close()
        if unlink and isinstance(path, str) and path in _own_socket_files:
            try:
                if _identity(path) == _own_socket_files[path]:
                    os.unlink(path)  # noqa: PTH108 - a path as the kernel gives it
            except FileNotFoundError:
                pass


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - as above
    return status.st_dev, status.st_ino
