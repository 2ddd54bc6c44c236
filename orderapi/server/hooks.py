"""The functions that gunicorn calls (its server hooks). `deploy/gunicorn.conf.py` names them."""

import ctypes
import gc
import logging
import os
import resource
import signal
import sys
from typing import Any, NoReturn

from orderapi.errors import SettingsInvalid, StartRefused
from orderapi.server import arbiter, limits
from orderapi.server.address import Address
from orderapi.server.metric_files import MetricFiles
from orderapi.settings import Settings
from orderapi.store.open import open_store

# A higher limit would cost memory, and this service needs fewer descriptors.
_DESCRIPTORS_MAX = 65_536
# The descriptors that a worker needs for the store, the listeners, the log and the event loop.
_DESCRIPTORS_RESERVED = 64
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger("orderapi")


def refuse_start(error: object) -> NoReturn:
    """Log one line that says why this process cannot start, and exit with 1."""
    _log.critical("cannot start: %s", error)
    sys.exit(1)


def raise_descriptor_limit() -> int:
    """Raise this process's limit of descriptors, and return the maximum of a worker's connections.

    The usual limit is 1,024, which would be too few.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = (
        _DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_MAX)
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    return max(1, min(limits.CONNECTIONS_MAX, descriptors - _DESCRIPTORS_RESERVED))


class Hooks:
    """The hooks of a service. Its workers count in the files of `metrics`."""

    def __init__(self, settings: Settings, metrics: MetricFiles) -> None:
        self._settings = settings
        self._metrics = metrics
        self._address = Address(settings.bind)

    def on_starting(self, master: Any) -> None:
        """Check the address, and make or migrate the database, before any worker exists."""
        try:
            if not {"GUNICORN_FD", "LISTEN_FDS"} & os.environ.keys():
                self._address.reserve()
            open_store(self._settings.database_url).prepare()
        except SettingsInvalid as error:
            refuse_start(error)
        except StartRefused as error:
            refuse_start(f"ORDERAPI_DATABASE_URL: {error}")
        except KeyboardInterrupt:
            sys.exit(130)
        arbiter.prepare_module()
        arbiter.wait_for_heartbeats_after_a_pause(master)
        _let_sigterm_end_starting_workers()

    def when_ready(self, master: Any) -> None:
        """Store which socket files this service has made, and let other starts continue."""
        arbiter.note_own_socket_files(master.LISTENERS)
        self._address.release()

    def pre_fork(self, master: Any, worker: Any) -> None:
        """Give each worker its own files in which it counts."""
        self._metrics.pre_fork(master, worker)

    def post_fork(self, _master: Any, worker: Any) -> None:
        """Make the kernel kill this worker when its master ends.

        Otherwise a new master could serve while workers of the old one still do.
        """
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != worker.ppid:
            os.kill(os.getpid(), signal.SIGKILL)
        self._metrics.post_fork(worker)

    def post_worker_init(self, worker: Any) -> None:
        """Limit the waiting readers of events, and release them when the worker stops.

        This also makes later garbage collections shorter.
        """
        feed = worker.wsgi.extensions["feed"]
        feed.stop_when(lambda: not worker.alive)
        feed.places.set_maximum(limits.waiting_max_readers(worker.cfg.worker_connections))
        self._metrics.post_worker_init(worker)
        # The objects that exist now live as long as the worker. A full garbage collection that
        # visits them takes 23 ms, and no request is answered in this time.
        gc.collect()
        gc.freeze()

    def child_exit(self, _master: Any, worker: Any) -> None:
        """Remove the gauges of a worker that has ended."""
        self._metrics.child_exit(worker)


def worker_exit(_master: Any, worker: Any) -> None:
    """Close the store. When the last worker closes it, SQLite removes the WAL file."""
    if hasattr(worker, "wsgi"):
        tokens = worker.wsgi.extensions["tokens"]
        if tokens is not None:
            tokens.close()
        worker.wsgi.extensions["store"].close()


def _let_sigterm_end_starting_workers() -> None:
    """Make SIGTERM end a worker that has not installed its own signal handlers yet.

    The handlers of the master would discard the only SIGTERM that a stop sends, and the stop would
    then wait for `graceful_timeout`.
    """
    sigterm = {signal.SIGTERM}

    def release_in_child() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, sigterm),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm),
        after_in_child=release_in_child,
    )
