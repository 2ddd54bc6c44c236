"""Time limits of a client count neither a pause of the service nor a change of the clock."""

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from orderapi.server.connection_table import ConnectionTable
from orderapi.server.limits import BODY_SILENCE_MAX_S
from tests.support.http_messages import raw_order
from tests.support.placing import held
from tests.support.running import ORDER_BODY, Server
from tests.support.waiting import awake_s


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Stop all processes of a service until the block ends, as on a machine that stalls."""
    assert server.process is not None
    pids = [server.process.pid, *server.workers()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@dataclass
class HalfSent:
    """A request whose first part the service has read before it is stopped.

    `at` is the number of bytes in the first part. The rest is sent while the service is stopped if
    `comes_meanwhile` is true, and after that otherwise."""

    message: bytes
    at: int
    comes_meanwhile: bool

    def begin(self, server: Server) -> None:
        self.connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.connection.sendall(self.message[: self.at])

    def finish(self) -> None:
        self.connection.sendall(self.message[self.at :])


def test_a_request_that_was_half_sent_before_a_pause_of_the_service_is_accepted(
    server: Server,
) -> None:
    """The rest may arrive while the service is stopped, or soon after it continues."""
    halves = [
        HalfSent(message, at, comes_meanwhile)
        for comes_meanwhile in (True, False)
        for message in [raw_order(f"paused-{comes_meanwhile}", ORDER_BODY)]
        for at in (40, len(message) - 5)
    ]
    for half in halves:
        half.begin(server)
    time.sleep(0.3)
    with stopped(server):
        time.sleep(BODY_SILENCE_MAX_S + 2)
        for half in halves:
            if half.comes_meanwhile:
                half.finish()
    time.sleep(0.5)
    for half in halves:
        if not half.comes_meanwhile:
            half.finish()
        assert half.connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
        half.connection.close()
    assert server.counts()["orders"] == 2


def test_after_a_pause_longer_than_the_limit_of_the_heartbeat_no_request_is_refused(
    server: Server,
) -> None:
    message = raw_order("paused", ORDER_BODY)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(message[:-5])
        time.sleep(0.3)
        with stopped(server):
            time.sleep(20)
            connection.sendall(message[-5:])
        with suppress(OSError):  # A killed worker gives no answer. The client then retries.
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status in (201, 503)
    assert server.order("paused").status == 201
    assert server.counts()["orders"] == 1


def test_the_clock_of_the_connections_does_not_count_a_pause_of_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    connections = ConnectionTable(10)
    for _ in range(10):
        now += 0.1
        connections.sweep(75)
    assert connections.clock_s == pytest.approx(1.0)
    now += 3600
    connections.sweep(75)
    assert connections.clock_s < 1.5


# A clock that is an hour ahead as soon as a file exists.
JUMPING = """
import os, time
_real = time.time
time.time = lambda: _real() + 3600 * os.path.exists({flag!r})
exec(compile(open("deploy/gunicorn.conf.py").read(), "deploy/gunicorn.conf.py", "exec"))
"""


def test_a_clock_that_is_set_an_hour_ahead_during_a_stop_ends_no_request(
    tmp_path: Path,
) -> None:
    flag, config = tmp_path / "jump", tmp_path / "conf.py"
    config.write_text(JUMPING.format(flag=str(flag)))
    server = Server(tmp_path, WORKERS="1")
    server.config = str(config)
    server.start()
    server.order("first")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        with held(server.database):
            connection.sendall(raw_order("in-flight", ORDER_BODY))
            time.sleep(0.3)
            server.signal(signal.SIGTERM)
            time.sleep(0.5)
            flag.touch()
            started = awake_s()
            time.sleep(1.5)
            assert server.workers(), "the worker was killed before its request was answered"
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
    assert awake_s() - started < 20
    assert server.stop() == 0
