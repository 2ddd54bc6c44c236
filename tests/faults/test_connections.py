"""Connections that are slow, silent, kept, no HTTP, or a thousand at once: nothing is lost."""

import http.client
import json
import socket
import time
from pathlib import Path

import pytest

from orderapi.store.postgres.placements import SLOW_S
from tests.support.client_crowd import ANSWERED_WITHIN_S, Crowd, assert_reads_go_on
from tests.support.engines import Engine, PostgresEngine
from tests.support.http_messages import raw_order, raw_request
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import ORDER, Answer, Server, serving
from tests.support.waiting import awake_s, wait_until

pytestmark = pytest.mark.without_pgbouncer(
    "clients are slow here, and the pool of connections is not concerned"
)

BODY = json.dumps(ORDER).encode()


def test_a_connection_is_kept_while_its_client_says_nothing(server: Server) -> None:
    """Longer than a client may be silent in the middle of a body."""
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


def test_an_answer_leaves_in_one_piece(shared_server: Server) -> None:
    """A worker that is killed leaves no head without its body, which no proxy could mend."""
    first = shared_server.order("first")
    with socket.create_connection(("127.0.0.1", shared_server.port), timeout=20) as connection:
        for _ in range(200):
            connection.sendall(raw_order("first", BODY))
            assert connection.recv(65_536).endswith(first.body)
        # What has no body has a head all the same.
        for method in ("HEAD", "OPTIONS"):
            connection.sendall(raw_request(method, "/orders"))
            assert connection.recv(65_536).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("part", ["headers", "body"])
def test_slow_clients_are_served_and_hold_up_nobody(server: Server, part: str) -> None:
    """Each sends a byte at a time."""
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


def test_a_body_that_takes_longer_than_a_request_may_wait_for_the_store_is_an_order(
    server: Server,
) -> None:
    """It is the client that is slow, and it would be so with each retry."""
    message = raw_order("uploaded-slowly", BODY)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for at in range(6):
            connection.sendall(message[: -len(BODY)] if at == 0 else BODY[at - 1 : at])
            time.sleep(1.5)
        connection.sendall(BODY[5:])
        answer = answer_on(connection)
    assert answer.status == 201
    assert_exactly_once(server.engine, {"uploaded-slowly": answer.body})


def test_a_body_without_end_is_cut_off(server: Server) -> None:
    """Read on and on, it would leave an event loop no time for anybody else."""
    workers = server.workers()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n"
        )
        with pytest.raises(ConnectionError):
            # More than all buffers on the way take.
            connection.sendall(bytes(64 * 1024 * 1024))
    assert server.request("GET", "/healthz").status == 200
    assert server.workers() == workers
    assert server.stop() == 0
    assert {line["level"] for line in server.log_lines()} == {"INFO"}


def answer_on(connection: socket.socket) -> Answer:
    """Read one answer, and be the side that closes."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    answer = Answer(response.status, {}, response.read())
    connection.close()
    return answer


def test_a_connection_that_is_no_http_gets_an_answer_and_an_end(shared_server: Server) -> None:
    """What was sent and not read must not turn the answer into a reset."""
    for _ in range(10):
        answer = shared_server.raw(b"GET / HTTP/9.9\r\n\r\n" + b"x" * 4000)
        assert answer.startswith(b"HTTP/1.1 400 ")


# A thousand at once.

WAITING = 1000


def test_a_thousand_requests_that_wait_cost_no_threads_and_nobody_time(
    tmp_path: Path, engine: Engine
) -> None:
    """In one worker, while another process holds the lock."""
    with serving(tmp_path, engine, WORKERS="1") as server:
        first = server.order("first")
        (worker,) = server.workers()
        threads_before = threads(worker)
        with server.engine.held():
            waiting = [send_order(server, "waiting-0")]
            if isinstance(engine, PostgresEngine):
                # Until the process has noticed that writes do not commit, a replay waits with them.
                time.sleep(2 * SLOW_S)
            waiting += [send_order(server, f"waiting-{number}") for number in range(1, WAITING)]
            wait_until(lambda: server.accepted() >= WAITING)
            for _ in range(10):
                started = awake_s()
                assert_reads_go_on(server, "first", first.body, first.headers["location"])
                # Nobody would call that waiting for the others, who wait for up to 8 s.
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


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_more_connections_than_descriptors_by_default_are_served(
    tmp_path: Path, engine: Engine
) -> None:
    """A login's soft limit is 1,024; the server raises its own."""
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
