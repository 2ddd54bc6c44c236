"""A client that reads slowly, or sends very much, does not delay the other clients."""

import os
import signal
import socket
import time
from pathlib import Path

from orderapi.server.limits import BODY_SILENCE_MAX_S
from tests.support.client_crowd import Crowd
from tests.support.http_messages import answers, raw_request
from tests.support.running import Server, serving
from tests.support.waiting import wait_until

# So many pages are more bytes than the kernel buffers for one client.
PAGES = 60
EVENTS = raw_request("GET", "/events?limit=1000")


def test_a_client_that_reads_long_answers_slowly_gets_all_of_them(server: Server) -> None:
    """The client reads for longer than a client may be silent in the middle of a body."""
    fill(server)
    expected = server.request("GET", "/events?limit=1000").body
    received = b""
    with slow_reader(server) as connection:
        connection.sendall(EVENTS * PAGES)
        while received.count(expected) < PAGES:
            part = connection.recv(65_536)
            assert part
            received += part
            time.sleep(1.3 * BODY_SILENCE_MAX_S * len(part) / len(expected) / PAGES)
    assert [answer.body for answer in answers(received)] == [expected] * PAGES


def test_a_client_that_reads_nothing_does_not_delay_others(tmp_path: Path) -> None:
    with serving(tmp_path, WORKERS="1") as server:
        fill(server)
        lazy = [slow_reader(server) for _ in range(3)]
        for connection in lazy:
            connection.sendall(EVENTS * PAGES)
        for number in range(10):
            assert server.request("GET", "/healthz").status == 200
            assert server.order(f"beside-{number}").status == 201
        for connection in lazy:
            connection.close()


def test_a_client_that_sends_many_requests_at_once_does_not_keep_others_waiting(
    tmp_path: Path,
) -> None:
    """Both clients have sent everything before the worker reads any of it."""
    count = 500
    with serving(tmp_path, WORKERS="1") as server:
        (worker,) = server.workers()
        greedy, other = (
            socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(2)
        )
        with greedy, other:
            wait_until(lambda: server.accepted() >= 2)
            os.kill(worker, signal.SIGSTOP)
            greedy.sendall(raw_request("GET", "/healthz", "X-Request-ID: greedy") * count)
            other.sendall(raw_request("GET", "/healthz", "X-Request-ID: other"))
            os.kill(worker, signal.SIGCONT)
            assert other.recv(65_536).startswith(b"HTTP/1.1 200 ")
            received = b""
            while received.count(b"HTTP/1.1 200 ") < count:
                received += greedy.recv(1 << 20)
        assert server.stop() == 0
        ids = [line.get("request_id") for line in server.log_lines()]
        assert ids.count("greedy") == count
        assert ids.index("other") < ids.index("greedy") + count / 2


def fill(server: Server) -> None:
    """Make so many events that `PAGES` pages are more than the kernel buffers for one client."""
    crowd = Crowd(server.order, 20, "fill", count=10).start().join()
    assert len(crowd.created) == 200


def slow_reader(server: Server) -> socket.socket:
    """Give a connection whose receive buffer is small."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    return connection
