"""The server: `gunicorn -c deploy/gunicorn.conf.py wsgi:app`, from the repository's root."""

from gevent import events, monkey

# Before and after each module that it patches, gevent looks for plugins in the metadata of every
# installed package. This service uses none, and without the search it starts sooner.
events.notify_and_call_entry_points = events.notify
# gevent must patch before anything else is imported, because a module that has a reference to an
# unpatched lock keeps it.
monkey.patch_all()

import os
from types import SimpleNamespace

from orderapi import logs
from orderapi.errors import StartRefused
from orderapi.server import hooks, limits
from orderapi.server.logger import JsonLogger
from orderapi.server.metric_files import share_metrics
from orderapi.settings import read_settings

# The log is written on a native thread, so that no request waits for the reader of the log.
_native_threads = SimpleNamespace(
    start_new_thread=monkey.get_original("_thread", "start_new_thread"),
    allocate_lock=monkey.get_original("_thread", "allocate_lock"),
)

try:
    _settings = read_settings(os.environ)
    # This comes before the import of the app, which makes its metrics.
    _metrics = share_metrics()
except StartRefused as error:
    logs.configure("info", _native_threads)
    hooks.refuse_start(error)

logs.configure(_settings.log_level, _native_threads)

bind = _settings.bind
workers = _settings.workers
worker_class = "orderapi.server.worker.Worker"
worker_connections = hooks.raise_descriptor_limit()
loglevel = _settings.log_level
logger_class = JsonLogger
# An app that cannot be imported stops the start instead of every worker.
preload_app = True
# Requests in flight are answered within 10 s, and a stop waits for them.
graceful_timeout = 20
# A worker that hangs or was stopped may hold the lock, and then no other worker can write.
timeout = 15
# The files of the heartbeats are in memory, so a slow disk never delays a heartbeat.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - a file without a name, for the workers alone
keepalive = limits.IDLE_MAX_S
# This service does not need gunicorn's management socket.
control_socket_disable = True

_hooks = hooks.Hooks(_settings, _metrics)
on_starting = _hooks.on_starting
when_ready = _hooks.when_ready
pre_fork = _hooks.pre_fork
post_fork = _hooks.post_fork
post_worker_init = _hooks.post_worker_init
child_exit = _hooks.child_exit
worker_exit = hooks.worker_exit
