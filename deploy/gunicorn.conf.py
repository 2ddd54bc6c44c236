"""The server: `gunicorn -c deploy/gunicorn.conf.py wsgi:app`, from the repository's root."""

from gevent import monkey

# Before anything else is imported: what has a reference to an unpatched lock keeps it.
monkey.patch_all()

import ctypes
import functools
import gc
import logging
import os
import resource
import signal
import sys
from types import SimpleNamespace

from gevent import get_hub
from gunicorn.glogging import Logger
from gunicorn.http import wsgi

from deploy import one_packet
from orderapi import logs
from orderapi.errors import SettingsInvalid, StartRefused
from orderapi.server.address import refuse_unusable
from orderapi.server.metric_files import share_metrics
from orderapi.settings import read_settings
from orderapi.store.open import open_store

# A client that stops in the middle of a body gives its thread back.
SILENCE_MOST_S = 5.0
# How often a worker publishes how many requests wait in it.
SAMPLE_S = 0.1


wsgi.Response = one_packet.Response


class JsonLogger(Logger):
    """gunicorn's own lines, through the handler that writes ours."""

    def setup(self, cfg):
        """Let the root logger's handler write what gunicorn logs."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def _refuse(error):
    logging.getLogger("orderapi").critical("cannot start: %s", error)
    sys.exit(1)


# The log is written on a native thread, so that a log that nobody reads stops no request.
_native_threads = SimpleNamespace(
    start_new_thread=monkey.get_original("_thread", "start_new_thread"),
    allocate_lock=monkey.get_original("_thread", "allocate_lock"),
)

try:
    _settings = read_settings(os.environ)
    # Before the app is imported: its metrics are made then.
    _metrics = share_metrics()
except StartRefused as error:
    logs.configure("info", _native_threads)
    _refuse(error)

logs.configure(_settings.log_level, _native_threads)

bind = _settings.bind
workers = _settings.workers
worker_class = "deploy.gevent_worker.Worker"
loglevel = _settings.log_level
logger_class = JsonLogger
# A request that waits is a connection: on a bad day a thousand wait, and reads go on beside them.
# Each is a descriptor; the usual limit of 1,024 would be too few.
_, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
_descriptors = min(_most, 65_536) if _most != resource.RLIM_INFINITY else 65_536
resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors, _most))
worker_connections = max(1, min(4_000, _descriptors - 64))
# An app that cannot be imported stops the start instead of every worker.
preload_app = True
# In-flight requests answer within 10 s; a stop waits for them.
graceful_timeout = 20
# A worker that hangs, or was stopped, may hold the lock that all others write under.
timeout = 15
# The most that gunicorn takes: what is longer than we allow should get a problem document of ours.
limit_request_line = 8190
limit_request_field_size = 32_768
# Workers beat in memory, never on a slow disk.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - a file without a name, for the workers alone
# nginx keeps its upstream connections for 60 s; the side that calls should close first.
keepalive = 75
# Nothing of ours needs a management socket.
control_socket_disable = True
# No header may change which path was asked for, nor its scheme; SCRIPT_NAME could, from this
# machine. With nothing left to trust, nobody's address need be looked at.
forwarder_headers = ""
secure_scheme_headers = {}
forwarded_allow_ips = "*"
# Only for files, and past `one_packet`.
sendfile = False


def on_starting(server):
    """Make or migrate the database before any worker exists."""
    try:
        if not {"GUNICORN_FD", "LISTEN_FDS"} & os.environ.keys():
            refuse_unusable(bind)
        open_store(_settings.database_url).prepare()
    except SettingsInvalid as error:
        _refuse(error)
    except StartRefused as error:
        _refuse(f"ORDERAPI_DATABASE_URL: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    _let_sigterm_end_a_worker_that_starts()


def _let_sigterm_end_a_worker_that_starts():
    """Lose no SIGTERM to a worker that has its master's handlers still.

    Those would swallow the only one that a stop sends, which then waits for `graceful_timeout`.
    """
    sigterm = {signal.SIGTERM}

    def release_in_child():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, sigterm),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm),
        after_in_child=release_in_child,
    )


def pre_fork(server, worker):
    """Give each worker files of its own to count in."""
    _metrics.pre_fork(server, worker)


def child_exit(server, worker):
    """Forget what waited in a worker that has ended."""
    _metrics.child_exit(worker)


def post_fork(server, worker):
    """Let no worker outlive its master: two generations must not serve at once."""
    # PR_SET_PDEATHSIG, prctl(2).
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != worker.ppid:
        os.kill(os.getpid(), signal.SIGKILL)
    _metrics.post_fork(worker)


def post_worker_init(worker):
    """Let readers who wait go when the worker should end, and spare requests what never changes."""
    worker.wsgi.extensions["feed"].stop_when(lambda: not worker.alive)
    _metrics.post_worker_init(worker)
    get_hub().loop.timer(SAMPLE_S, SAMPLE_S).start(worker.wsgi.extensions["telemetry"].sample)
    for name, setting in worker.cfg.settings.items():
        vars(worker.cfg)[name] = setting.get()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def worker_exit(server, worker):
    """Close the store; the last one to do so leaves a database without a WAL beside it."""
    if hasattr(worker, "wsgi"):
        tokens = worker.wsgi.extensions["tokens"]
        if tokens is not None:
            tokens.close()
        worker.wsgi.extensions["store"].close()


def pre_request(worker, req):
    """Give a silent client up, and make a repeated Idempotency-Key invalid.

    Joined with a comma, as the server does it, two keys could pass as one.
    """
    req.unreader.sock.settimeout(SILENCE_MOST_S)
    # Decided when the answer is written: what has waited meanwhile must not come back to a worker
    # that ends. Once for each request: what the answer says is what is done.
    should_close = req.should_close
    req.should_close = functools.cache(lambda: not worker.alive or should_close())
    if sum(name == "IDEMPOTENCY-KEY" for name, _ in req.headers) > 1:
        # DEL has no place in either form of a key, wherever the join puts it.
        req.headers.append(("IDEMPOTENCY-KEY", "\x7f"))


def post_request(worker, req, environ, resp):
    """Take the id off this thread: a later line of gunicorn's own is another request's."""
    logs.request_id.set(None)
