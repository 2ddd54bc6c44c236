"""At the limit of connections, the one that is idle for longest is closed for a new one.

A connection with a request in flight is never closed for a new one."""

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_messages import raw_order, raw_request
from tests.support.placing import held
from tests.support.running import ORDER_BODY, Server
from tests.support.waiting import wait_until

DESCRIPTORS = 256
HEALTH = raw_request("GET", "/healthz")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """A server with one worker that may have 256 descriptors, as some hosts set it."""
    server = Server(tmp_path, WORKERS="1")
    limits = (DESCRIPTORS, DESCRIPTORS)
    server.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
    yield server
    assert server.stop() == 0


def connect(server: Server, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(sent)
    return connection


@pytest.mark.parametrize("kept", [b"", HEALTH, HEALTH[:-10]])
def test_new_connections_are_served_beside_more_idle_ones_than_the_limit_allows(
    small: Server, kept: bytes
) -> None:
    """A connection is idle before its first request, after one, or in the middle of a head."""
    idle = []
    for _ in range(2 * DESCRIPTORS):
        idle.append(connect(small, kept))
        if kept == HEALTH:
            assert idle[-1].recv(65_536).startswith(b"HTTP/1.1 200 ")
    for _ in range(20):
        assert small.request("GET", "/healthz", timeout_s=5).status == 200
    # The oldest connection was closed, and the newest one is still open.
    assert idle[0].recv(1) == b""
    if kept != HEALTH[:-10]:
        idle[-1].sendall(HEALTH)
        assert idle[-1].recv(65_536).startswith(b"HTTP/1.1 200 ")
    for connection in idle:
        connection.close()


def test_a_connection_with_a_request_in_flight_is_never_closed_for_a_new_one(small: Server) -> None:
    """Some requests wait for the store, and the body of another one is still being sent."""
    small.order("first")
    in_body = connect(small, raw_order("in-body", ORDER_BODY)[:-5])
    with held(small.database):
        waiting = [connect(small, raw_order(f"waiting-{n}", ORDER_BODY)) for n in range(20)]
        wait_until(lambda: small.accepted() >= len(waiting) + 1)
        idle = [connect(small) for _ in range(2 * DESCRIPTORS)]
        for _ in range(5):
            assert small.request("GET", "/healthz", timeout_s=5).status == 200
    in_body.sendall(ORDER_BODY[-5:])
    for connection in (in_body, *waiting):
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
        connection.close()
    for connection in idle:
        connection.close()
