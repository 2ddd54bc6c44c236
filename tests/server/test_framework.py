"""The parts of gunicorn and gevent that the server replaces or uses still exist.

If an upgrade changes a name or a signature, a replacement would have no effect. A test fails then.
"""

import inspect
import time
from typing import Any

import gevent
import pytest
from gevent import get_hub
from gunicorn import arbiter, sock
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.wsgi import base_environ
from gunicorn.workers import base

from orderapi.server import arbiter as our_arbiter
from orderapi.server.logger import JsonLogger
from orderapi.server.worker import Worker


@pytest.mark.parametrize("name", ["run", "handle_quit", "handle_usr1", "notify"])
def test_a_method_of_gunicorns_worker_has_the_parameters_of_ours(name: str) -> None:
    theirs, ours = (inspect.signature(getattr(owner, name)) for owner in (base.Worker, Worker))
    assert list(theirs.parameters) == list(ours.parameters)


def test_gunicorns_worker_sets_what_ours_reads() -> None:
    source = inspect.getsource(base.Worker)
    for statement in (
        "self.alive = True",
        "self.alive = False",
        "self.nr = 0",
        "self.max_requests =",
        "self.wsgi = self.app.wsgi()",
        "self.sockets = sockets",
        "signal.signal(signal.SIGQUIT, self.handle_quit)",
        "signal.signal(signal.SIGUSR1, self.handle_usr1)",
    ):
        assert statement in source


def test_gunicorns_arbiter_still_asks_the_worker_class_to_check_its_settings() -> None:
    assert "self.worker_class.check_config(self.cfg, self.log)" in inspect.getsource(arbiter)


@pytest.mark.parametrize(
    ("setting", "value"), [("certfile", "x"), ("proxy_protocol", "v1"), ("accesslog", "-")]
)
def test_a_setting_that_the_worker_does_not_implement_stops_the_start(
    setting: str, value: str
) -> None:
    cfg = Config()
    log = Recording()
    Worker.check_config(cfg, log)
    assert log.lines == []
    cfg.set(setting, value)
    with pytest.raises(SystemExit):
        Worker.check_config(cfg, log)
    assert setting in log.lines[0]


class Recording:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def critical(self, line: str, *values: object) -> None:
        self.lines.append(line % values)


def test_gunicorns_stop_still_reads_the_clock_by_the_name_time_of_its_module() -> None:
    source = inspect.getsource(arbiter.Arbiter.stop)
    assert "limit = time.time() + self.cfg.graceful_timeout" in source
    used = {
        name
        for name in ("time", "monotonic", "sleep", "perf_counter", "strftime", "localtime")
        if f"time.{name}(" in inspect.getsource(arbiter)
    }
    assert used <= set(vars(our_arbiter.MonotonicTime))


def test_gunicorns_stop_still_closes_its_sockets_by_the_function_that_is_replaced() -> None:
    assert "sock.close_sockets(self.LISTENERS, unlink)" in inspect.getsource(arbiter.Arbiter.stop)
    replaced = getattr(sock.close_sockets, "__wrapped__", sock.close_sockets)
    ours = inspect.signature(our_arbiter.close_sockets)
    assert list(inspect.signature(replaced).parameters) == list(ours.parameters)


def test_gunicorns_arbiter_still_kills_workers_by_the_method_that_is_replaced() -> None:
    assert "self.murder_workers()" in inspect.getsource(arbiter.Arbiter.run)
    assert list(inspect.signature(arbiter.Arbiter.murder_workers).parameters) == ["self"]


def test_a_master_that_was_suspended_does_not_kill_its_workers_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, killings = 100.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)

    class Master:
        def murder_workers(self) -> None:
            killings.append(now)

    master = Master()
    our_arbiter.wait_for_heartbeats_after_a_pause(master)
    for now in (101.0, 102.0, 122.0, 123.0):  # noqa: B007 - the clock reads it
        master.murder_workers()
    assert killings == [101.0, 102.0, 123.0]


def test_gunicorns_logger_still_has_the_method_that_is_extended() -> None:
    theirs, ours = inspect.signature(Logger.setup), inspect.signature(JsonLogger.setup)
    assert list(theirs.parameters) == list(ours.parameters)
    assert "self.error_log" in inspect.getsource(Logger)


def test_gunicorns_base_environ_still_has_the_keys_that_the_server_needs() -> None:
    environ = base_environ(Config())
    for key in ("wsgi.errors", "wsgi.version", "wsgi.multithread", "wsgi.multiprocess"):
        assert key in environ
    assert environ["wsgi.input_terminated"] is True


def test_gevents_loop_still_has_the_watchers_and_callbacks_that_the_server_uses() -> None:
    loop = get_hub().loop
    reading, timer = loop.io(0, 1), loop.timer(0.1, 0.1)
    for watcher in (reading, timer):
        assert all(callable(getattr(watcher, name)) for name in ("start", "stop", "close"))
        watcher.close()
    called: list[Any] = []
    loop.run_callback(called.append, 1)
    gevent.sleep(0)
    assert called == [1]
