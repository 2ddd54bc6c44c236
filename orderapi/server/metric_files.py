"""The files in which the workers of one service count, so that `/metrics` is the sum over all.

prometheus-client maps one file per process and type of metric into memory. This module chooses
where these files are, gives each of them its whole size before it is mapped, and gives each worker
the name of a slot instead of its process id. A worker that replaces a dead one continues in the
files of its slot. Therefore the number of files does not grow, and no counter ever goes down.
"""

import atexit
import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

from orderapi.errors import StartRefused
from orderapi.server.shared_values import SharedFiles, value_class
from orderapi.telemetry import DIRECTORY_VARIABLE

PREFIX = "orderapi-metrics-"
# The size of a file of each kind, which is enough for all values of this service. prometheus-client
# has chosen the names of the kinds.
FILE_BYTES = {"counter": 64 * 1024, "histogram": 448 * 1024, "gauge_livesum": 64 * 1024}
# The master counts nothing, but the first value of each metric without labels is made there.
_MASTER = "master"
_MASTER_FILE_BYTES = dict.fromkeys(FILE_BYTES, 64 * 1024)

_log = logging.getLogger(__name__)


class MetricFiles:
    """The files of one master process and its workers, in a directory of their own.

    The directory is removed when this process ends. If it is killed, the next start of any service
    of the same user removes it.
    """

    def __init__(self, parent: Path) -> None:
        """Make the directory in `parent`. Raises OSError if there is no room in it."""
        self._owner = os.getpid()
        _remove_abandoned(parent)
        self.directory, self._lock = _new_directory(parent)
        atexit.register(self._remove)
        self._allocate(_MASTER, _MASTER_FILE_BYTES)
        os.environ[DIRECTORY_VARIABLE] = str(self.directory)
        # Every metric that is made from now on uses this class of values.
        self._files = SharedFiles(self.directory, _MASTER)
        values.ValueClass = value_class(self._files)

    def pre_fork(self, master: Any, worker: Any) -> None:
        """Give a new worker the first slot that no other worker has.

        A worker is among `master.WORKERS` until the master has reaped it. Therefore no two
        processes ever write the same file. The slot is None if there is no room for its files.
        """
        taken = {other.metrics_slot for other in master.WORKERS.values()}
        worker.metrics_slot = None
        slot = next(name for name in map(str, range(len(taken) + 1)) if name not in taken)
        try:
            self._allocate(slot, FILE_BYTES)
        except OSError as error:
            _log.warning("the metrics will not count the requests of a new worker: %s", error)
        else:
            worker.metrics_slot = slot

    def post_fork(self, worker: Any) -> None:
        """From now on, count in the files of the worker's slot."""
        self._files.process = worker.metrics_slot

    def post_worker_init(self, worker: Any) -> None:
        """Count nothing in a worker that has no slot."""
        if worker.metrics_slot is None:
            worker.wsgi.extensions["telemetry"].stop_counting()

    def child_exit(self, worker: Any) -> None:
        """Remove the gauges of a worker that has ended, such as its waiting requests.

        The counters of the worker stay.
        """
        mark_process_dead(worker.metrics_slot, str(self.directory))

    def _allocate(self, process: str, sizes: dict[str, int]) -> None:
        """Make the files of a process that do not exist yet, and allocate their whole size.

        If space were allocated only when it is used, a full file system would end the process with
        SIGBUS.
        """
        for kind, size in sizes.items():
            file = self.directory / f"{kind}_{process}.db"
            if file.exists():
                continue
            partial = file.with_suffix(".partial")
            try:
                with partial.open("wb") as stream:
                    os.posix_fallocate(stream.fileno(), 0, size)
                partial.rename(file)
            finally:
                partial.unlink(missing_ok=True)

    def _remove(self) -> None:
        # A worker inherits this handler. It must not remove the files, because others use them.
        if os.getpid() == self._owner:
            shutil.rmtree(self.directory, ignore_errors=True)


_shared: MetricFiles | None = None


def share_metrics() -> MetricFiles:
    """Make this process and its future workers count in shared files. A second call does nothing.

    Raises StartRefused if no directory has room for the files.
    """
    global _shared
    if _shared is None:
        _shared = _share()
    return _shared


def _share() -> MetricFiles:
    # The first directory is the one that systemd makes for the unit, if there is one. The first two
    # directories are in memory, so a slow disk does not delay the service.
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    places = (runtime, "/dev/shm", tempfile.gettempdir())  # noqa: S108 - a private directory in it
    failures = []
    for place in filter(None, places):
        try:
            return MetricFiles(Path(place))
        except OSError as error:
            failures.append(f"{place}: {error.strerror}")
    raise StartRefused(f"there is no room for the files of the metrics ({', '.join(failures)})")


def _new_directory(parent: Path) -> tuple[Path, int]:
    """Make a directory that only this user can open, and lock it for the life of this process."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(directory)
        # Another start may have removed the directory before it was locked.
        if lock is not None:
            return directory, lock


def _remove_abandoned(parent: Path) -> None:
    """Remove the directories of services that were killed. No process has locked them."""
    for directory in parent.glob(f"{PREFIX}*"):
        lock = _lock(directory)
        if lock is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def _lock(directory: Path) -> int | None:
    """Lock a directory of this user, and return its descriptor.

    The result is None if the directory belongs to another user, is locked, or does not exist.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # The workers inherit the open directory and its lock. The lock is released when the last
        # worker has ended.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and os.path.samestat(found, directory.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
