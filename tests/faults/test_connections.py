"""Connections that are slow, silent, idle or not HTTP, and a thousand connections at once."""

import http.client
import json
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.client_crowd import ANSWERED_WITHIN_S, Crowd, assert_reads_go_on
from tests.support.engines import Engine
from tests.support.http_messages import raw_order, raw_request
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import ORDER, Answer, Server, serving
from tests.support.waiting import awake_s, wait_until

pytestmark = pytest.mark.without_pgbouncer(
    "clients are slow here, and the pool of connections is not concerned"
)

BODY = json.dumps(ORDER).encode()


def test_a_connection_stays_open_while_its_client_is_silent(server: Server) -> None:
    """Between two requests, a client may be silent for longer than in the middle of a body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    kept = connection.sock
    time.sleep(6.5)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    assert connection.sock is kept
    connection.close()
    assert server.stop() == 0
    assert {line["level"] for line in server.log_lines()} == {"INFO"}


def test_an_answer_is_sent_in_one_piece(shared_server: Server) -> None:
    """A proxy cannot retry after a head without its body, so a killed worker must not send one."""
    first = shared_server.order("first")
    with socket.create_connection(("127.0.0.1", shared_server.port), timeout=20) as connection:
        for _ in range(200):
            connection.sendall(raw_order("first", BODY))
            assert connection.recv(65_536).endswith(first.body)
        # An answer without a body is one piece too.
        for method in ("HEAD", "OPTIONS"):
            connection.sendall(raw_request(method, "/orders"))
            assert connection.recv(65_536).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("part", ["headers", "body"])
def test_slow_clients_are_served_and_delay_no_other_client(server: Server, part: str) -> None:
    """Each client sends one byte at a time."""
    count = 200
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(count)]
    messages = [raw_order(f"slow-{n}", BODY) for n in range(count)]
    first = server.order("first")
    begin = 0 if part == "headers" else len(messages[0]) - len(BODY) - 5
    for connection, message in zip(slow, messages, strict=True):
        connection.sendall(message[:begin])
    for at in range(begin, begin + 20):
        for connection, message in zip(slow, messages, strict=True):
            connection.sendall(message[at : at + 1])
        if at % 5 == 0:
            assert_reads_go_on(server, "first", first.body, first.headers["location"])
            assert server.order(f"between-{at}").status == 201
    for connection, message in zip(slow, messages, strict=True):
        connection.sendall(message[begin + 20 :])
    answers = [answer_on(connection) for connection in slow]
    assert {answer.status for answer in answers} == {201}
    made = {f"slow-{number}": answer.body for number, answer in enumerate(answers)}
    assert_exactly_once(server.engine, made)


def test_an_order_whose_body_takes_longer_than_the_deadline_of_a_write_is_accepted(
    server: Server,
) -> None:
    """The client is slow, and a retry would be as slow. The deadline begins after the body."""
    message = raw_order("uploaded-slowly", BODY)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for at in range(6):
            connection.sendall(message[: -len(BODY)] if at == 0 else BODY[at - 1 : at])
            time.sleep(1.5)
        connection.sendall(BODY[5:])
        answer = answer_on(connection)
    assert answer.status == 201
    assert_exactly_once(server.engine, {"uploaded-slowly": answer.body})


def test_a_connection_with_an_endless_body_is_cut_off(server: Server) -> None:
    """An event loop that read it to the end would have no time for other requests."""
    workers = server.workers()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n"
        )
        with pytest.raises(ConnectionError):
            # This is more than all buffers between client and server can hold.
            connection.sendall(bytes(64 * 1024 * 1024))
    assert server.request("GET", "/healthz").status == 200
    assert server.workers() == workers
    assert server.stop() == 0
    assert {line["level"] for line in server.log_lines()} == {"INFO"}


def answer_on(connection: socket.socket) -> Answer:
    """Read one answer, and close the connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    answer = Answer(response.status, {}, response.read())
    connection.close()
    return answer


def test_bytes_that_are_not_http_get_400_and_the_connection_is_closed(
    shared_server: Server,
) -> None:
    """The server has not read all bytes, and its close must still not discard the answer."""
    for _ in range(10):
        answer = shared_server.raw(b"GET / HTTP/9.9\r\n\r\n" + b"x" * 4000)
        assert answer.startswith(b"HTTP/1.1 400 ")


# The number of requests that wait at once.
WAITING = 1000


def test_a_thousand_waiting_requests_need_no_threads_and_delay_no_other_request(
    tmp_path: Path, engine: Engine
) -> None:
    """They wait in one worker, while another process holds the lock."""
    with serving(tmp_path, engine, WORKERS="1") as server:
        first = server.order("first")
        (worker,) = server.workers()
        threads_before = threads(worker)
        with server.engine.held():
            waiting = [send_order(server, "waiting-0")]
            # Until a process has noticed that writes do not commit, its replays wait with them.
            wait_until(lambda: is_replayed_at_once(server, "first"), "a replay beside a write")
            waiting += [send_order(server, f"waiting-{number}") for number in range(1, WAITING)]
            wait_until(lambda: server.accepted() >= WAITING)
            for _ in range(10):
                started = awake_s()
                assert_reads_go_on(server, "first", first.body, first.headers["location"])
                # The waiting requests need up to 8 s. These requests must not wait for them.
                assert awake_s() - started < 2.0
            assert threads(worker) <= threads_before + 1
        answers = [answer_on(connection) for connection in waiting]
        assert threads(worker) <= threads_before + 1
    made = {f"waiting-{n}": a.body for n, a in enumerate(answers) if a.status == 201}
    assert {answer.status for answer in answers} <= {201, 503}
    assert len(made) > WAITING // 2
    assert_exactly_once(server.engine, made | {"first": first.body})


@promise("bad days lose nothing")
def test_a_thousand_requests_that_cannot_commit_are_refused_in_time(
    tmp_path: Path, engine: Engine
) -> None:
    with serving(tmp_path, engine, WORKERS="1") as server:
        server.order("first")
        with server.engine.held():
            waiting = [send_order(server, f"waiting-{number}") for number in range(WAITING)]
            started = awake_s()
            answers = [answer_on(connection) for connection in waiting]
            assert awake_s() - started <= ANSWERED_WITHIN_S
        assert {answer.status for answer in answers} == {503}
        assert server.order("after").status == 201
        assert assert_exactly_once(server.engine, {}) == 2


def send_order(server: Server, key: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(raw_order(key, BODY))
    return connection


def is_replayed_at_once(server: Server, key: str) -> bool:
    with suppress(TimeoutError):
        return server.order(key, timeout_s=0.5).headers["idempotent-replayed"] == "true"
    return False


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_more_connections_than_the_soft_limit_of_descriptors_are_served(
    tmp_path: Path, engine: Engine
) -> None:
    """The server raises its soft limit of descriptors to the hard limit."""
    import resource

    def limit() -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

    server = Server(tmp_path, engine, WORKERS="1")
    server.start(preexec_fn=limit)
    try:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(400)]
        crowd = Crowd(server.order, 20, "beside").start().join()
        assert len(crowd.created) == 20
        for connection in idle:
            connection.close()
    finally:
        server.stop()
