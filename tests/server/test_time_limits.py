"""The server refuses or cuts off a client that is too slow, so that its connection is free again.

The service has shorter limits here, because the tests would otherwise take minutes.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.http_messages import check_problem, one_answer, raw_order, raw_request
from tests.support.running import ORDER_BODY, Server, started
from tests.support.waiting import wait_until

SHORT = """
from gevent import monkey
monkey.patch_all()
from orderapi.server import limits
limits.HEAD_MAX_S = limits.BODY_MAX_S = 1.5
limits.BODY_SILENCE_MAX_S = limits.SEND_SILENCE_MAX_S = 1.0
limits.IDLE_MAX_S = 1
exec(compile(open("deploy/gunicorn.conf.py").read(), "deploy/gunicorn.conf.py", "exec"))
"""
PAUSE_S = 0.2
# If the server does not end a connection within this time, the test fails.
PATIENCE_S = 30.0


def server_in(directory: Path, **settings: str) -> Server:
    """Give a server whose time limits are short."""
    config = directory / "conf.py"
    config.write_text(SHORT)
    server = Server(directory, WORKERS="1", **settings)
    server.config = str(config)
    return server


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = server_in(tmp_path_factory.mktemp("impatient"))
    with started(server):
        yield server


def drip(connection: socket.socket, message: bytes) -> None:
    """Send all but the last byte of a message, byte by byte, until there is an answer."""
    connection.settimeout(PAUSE_S)
    for at in range(len(message) - 1):
        connection.sendall(message[at : at + 1])
        with suppress(TimeoutError):
            connection.recv(1, socket.MSG_PEEK)
            return
    raise AssertionError("the server did not answer the slow client")


def rest_of(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE_S)
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def slow_head(connection: socket.socket) -> None:
    drip(connection, raw_order("slow", ORDER_BODY))


def slow_body(connection: socket.socket) -> None:
    message = raw_order("slow", ORDER_BODY)
    connection.sendall(message[: -len(ORDER_BODY)])
    drip(connection, message[-len(ORDER_BODY) :])


def silent_body(connection: socket.socket) -> None:
    connection.sendall(raw_order("slow", ORDER_BODY)[:-1])


@pytest.mark.parametrize("send", [slow_head, slow_body, silent_body])
def test_a_request_that_arrives_too_slowly_is_refused(
    impatient: Server, send: Callable[[socket.socket], None]
) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=30) as connection:
        send(connection)
        check_problem(one_answer(rest_of(connection)), "bad-request")
    assert impatient.counts()["orders"] == 0


def test_an_idle_connection_is_closed(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=30) as connection:
        assert rest_of(connection) == b""


def test_a_client_that_keeps_sending_and_reads_no_answer_is_cut_off(tmp_path: Path) -> None:
    """The test uses a unix socket, because the kernel buffers megabytes of a TCP connection."""
    path = tmp_path / "orders.sock"
    server = server_in(tmp_path, BIND=f"unix:{path}")
    server.start(wait=False)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            wait_until(lambda: connection.connect_ex(str(path)) == 0, "serving")
            with pytest.raises(ConnectionError):
                connection.sendall(raw_request("GET", "/problems/not-found") * 50_000)
    finally:
        assert server.stop() == 0
