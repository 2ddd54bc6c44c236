"""A stop or a replacement of workers ends no request that they have accepted."""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.client_crowd import retried
from tests.support.engines import Engine
from tests.support.http_messages import raw_order
from tests.support.kept_connections import KeptClient, all_created
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import ORDER, Server, serving
from tests.support.waiting import awake_s, wait_until

pytestmark = pytest.mark.without_pgbouncer(
    "the service stops while clients wait, and the pool of connections is not concerned"
)

BODY = json.dumps(ORDER).encode()
# A stop that waits for a request that never comes takes `graceful_timeout`, 20 s.
STOPPED_WITHIN_S = 17.0


def replace_workers(server: Server) -> float:
    """Send SIGHUP. Gives how many seconds it takes until all old workers have ended."""
    before = set(server.workers())
    started = awake_s()
    server.signal(signal.SIGHUP)
    while before & set(server.workers()):
        assert awake_s() - started < 30
        time.sleep(0.02)
    return awake_s() - started


def stop(server: Server) -> float:
    started = awake_s()
    assert server.stop() == 0
    return awake_s() - started


@pytest.mark.parametrize("end", [replace_workers, stop])
def test_a_stop_does_not_wait_for_idle_connections(
    server: Server, end: Callable[[Server], float]
) -> None:
    idle = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(20)]
    for number, connection in enumerate(idle):
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"idle-{number}"}
        connection.request("POST", "/orders", BODY, headers)
        assert connection.getresponse().read()
    assert end(server) < STOPPED_WITHIN_S
    for connection in idle:
        assert connection.sock.recv(1) == b""  # The connection was closed, and not reset.
        connection.close()
    assert {line["level"] for line in server.log_lines()} == {"INFO"}


@promise("an error is not a verdict")
@pytest.mark.parametrize("whole", [False, True])
def test_a_request_that_arrives_as_its_worker_ends_is_answered_completely_or_not_at_all(
    tmp_path: Path, engine: Engine, whole: bool
) -> None:
    """The worker is suspended when the request arrives, so it still sees an idle connection."""
    with serving(tmp_path, engine, WORKERS="1") as server:
        (worker,) = server.workers()
        message = raw_order("late", BODY)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(raw_order("early", BODY))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
            server.signal(signal.SIGTERM)
            time.sleep(0.2)
            received = b""
            with suppress(OSError):  # The worker may have ended already.
                os.kill(worker, signal.SIGSTOP)
                try:
                    connection.sendall(message if whole else message[: -len(BODY)])
                    time.sleep(0.6)
                finally:
                    os.kill(worker, signal.SIGCONT)
                received = connection.recv(65_536)
        # Without an answer, the client retries, as after a crash.
        assert received == b"" or (whole and received.startswith(b"HTTP/1.1 201 "))
        assert server.stop() == 0
        assert server.counts()["orders"] == 1 + (received != b"")


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_a_stop_does_not_wait_for_workers_that_are_still_starting(
    tmp_path: Path, engine: Engine, workers: int
) -> None:
    """A worker may get SIGTERM before it has a handler. Four variants make this moment likely."""
    server = Server(tmp_path, engine, WORKERS="4")
    server.start(wait=False)
    wait_until(lambda: len(server.workers()) >= workers, pause_s=0.001)
    assert stop(server) < STOPPED_WITHIN_S


def test_no_request_fails_when_workers_are_replaced(server: Server) -> None:
    """This is also true on a kept connection if its client is silent only for a short time.

    After a longer silence, a client may send its request at the moment at which the server closes
    the connection. No HTTP server can prevent this, and the client retries with the same key.
    """
    busy = [KeptClient(server, f"busy-{n}", pause_s=0.03 * n).start() for n in range(6)]
    sleepy = [KeptClient(server, f"sleepy-{n}", pause_s=1.4 + 0.2 * n).start() for n in range(3)]
    time.sleep(0.5)
    for _ in range(2):
        replace_workers(server)
    for client in (*busy, *sleepy):
        client.stop()
    made = all_created([*busy, *sleepy])
    assert [client.failed_kept for client in busy] == [[]] * 6
    assert [client.failed_new for client in (*busy, *sleepy)] == [[]] * 9
    # The clients have kept their connections, and they had to replace them.
    assert all(1 < client.connections < len(client.created) for client in busy)
    made |= retried(server, [key for client in sleepy for key in client.failed_kept])
    assert assert_exactly_once(server.engine, made) == len(made)


@promise("a 201 is durable")
def test_a_server_that_stops_under_load_answers_every_request_that_it_has_accepted(
    tmp_path: Path, engine: Engine
) -> None:
    """A new connection may be refused, or reset before its request is read. A kept one may not."""
    with serving(tmp_path, engine) as server:
        clients = [KeptClient(server, f"load-{n}").start() for n in range(12)]
        wait_until(lambda: all(len(client.created) > 2 for client in clients))
        assert stop(server) < STOPPED_WITHIN_S
        for client in clients:
            client.stop()
        made = all_created(clients)
        assert [client.failed_kept for client in clients] == [[]] * 12
        assert assert_exactly_once(server.engine, made) >= len(made) > 12
        server.start()
        # The client cannot distinguish the failures. A retry makes the order, or replays it.
        unsure = [key for client in clients for key in client.failed_new][:30]
        assert assert_exactly_once(server.engine, made | retried(server, unsure)) >= len(made)


def test_workers_that_end_after_max_requests_fail_no_request(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--max-requests 60 --max-requests-jitter 30")
    with serving(tmp_path, engine) as server:
        before = set(server.workers())
        clients = [KeptClient(server, f"max-{n}").start() for n in range(8)]
        give_up_at = awake_s() + 30
        while before & set(server.workers()) or not all(c.created for c in clients):
            assert awake_s() < give_up_at
            time.sleep(0.05)
        time.sleep(1.0)
        for client in clients:
            client.stop()
        made = all_created(clients)
        assert [client.failed_kept for client in clients] == [[]] * 8
        assert [client.failed_new for client in clients] == [[]] * 8
        assert len(made) > 120
        assert assert_exactly_once(server.engine, made) == len(made)
