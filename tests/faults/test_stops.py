"""Workers that come and go, and the connections they had: nothing is lost."""

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
# A stop that waits for what nobody will send takes `graceful_timeout`, 20 s.
STOPPED_WITHIN_S = 17.0


def replace_workers(server: Server) -> float:
    """Send SIGHUP and give the seconds until no worker of before is left."""
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
def test_a_stop_does_not_wait_for_connections_that_say_nothing(
    server: Server, end: Callable[[Server], float]
) -> None:
    idle = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(20)]
    for number, connection in enumerate(idle):
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"idle-{number}"}
        connection.request("POST", "/orders", BODY, headers)
        assert connection.getresponse().read()
    assert end(server) < STOPPED_WITHIN_S
    for connection in idle:
        assert connection.sock.recv(1) == b""  # an orderly end, not a reset
        connection.close()
    assert {line["level"] for line in server.log_lines()} == {"INFO"}


@promise("an error is not a verdict")
@pytest.mark.parametrize("whole", [False, True])
def test_a_request_whose_head_comes_at_the_very_end_is_answered_whole_or_not_at_all(
    tmp_path: Path, engine: Engine, whole: bool
) -> None:
    """To a worker that stops, and has no time just now, the connection was silent until then."""
    with serving(tmp_path, engine, WORKERS="1") as server:
        (worker,) = server.workers()
        message = raw_order("late", BODY)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(raw_order("early", BODY))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
            server.signal(signal.SIGTERM)
            time.sleep(0.2)
            received = b""
            with suppress(OSError):  # it may have ended already
                os.kill(worker, signal.SIGSTOP)
                connection.sendall(message if whole else message[: -len(BODY)])
                time.sleep(0.6)
                os.kill(worker, signal.SIGCONT)
                received = connection.recv(65_536)
        # Without an answer its client sends it again, as after a crash.
        assert received == b"" or (whole and received.startswith(b"HTTP/1.1 201 "))
        assert server.stop() == 0
        assert server.counts()["orders"] == 1 + (received != b"")


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_a_stop_does_not_wait_for_workers_that_are_still_starting(
    tmp_path: Path, engine: Engine, workers: int
) -> None:
    """A stop sends SIGTERM once, perhaps to one that has no handlers yet; a race, so four tries."""
    server = Server(tmp_path, engine, WORKERS="4")
    server.start(wait=False)
    wait_until(lambda: len(server.workers()) >= workers, pause_s=0.001)
    assert stop(server) < STOPPED_WITHIN_S


def test_new_workers_cost_no_client_a_request(server: Server) -> None:
    """Kept connections, too, if their clients are silent for less than a worker lingers.

    Whoever speaks after a longer silence may do so at the very moment of the closing: no HTTP
    server can help that, and such a client sends the same key again.
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
    # They did keep their connections, and had to change them.
    assert all(1 < client.connections < len(client.created) for client in busy)
    made |= retried(server, [key for client in sleepy for key in client.failed_kept])
    assert assert_exactly_once(server.engine, made) == len(made)


@promise("a 201 is durable")
def test_a_server_that_stops_under_load_answers_whatever_it_has_accepted(
    tmp_path: Path, engine: Engine
) -> None:
    """New connections may be refused, or reset before anything was read; kept ones may not."""
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
        # To the client all failures look alike; the same keys give an order each, at most once.
        unsure = [key for client in clients for key in client.failed_new][:30]
        assert assert_exactly_once(server.engine, made | retried(server, unsure)) >= len(made)


def test_workers_that_end_after_so_many_requests_fail_none(
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
