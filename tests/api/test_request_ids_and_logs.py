"""`X-Request-ID`, and the log: stderr has JSON lines and nothing else."""

import json
import re
import signal
from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from tests.support.http_messages import (
    ask,
    chunk,
    one_answer,
    raw_order,
    raw_request,
)
from tests.support.running import ORDER, Server, serving
from tests.support.waiting import wait_until

BODY = json.dumps(ORDER).encode()
LINE_OF_REQUEST = {"address", "method", "path", "status", "duration_ms"}
LINE_OF_ALL = {"time", "level", "logger", "process", "message"}


@pytest.mark.parametrize(
    "request_id", ["a", "x" * 128, "A-Za-z0-9._~:+/=-", "0", "trace:1/2+3=4~5", "-", "..", "=="]
)
def test_a_request_keeps_its_own_id(client: FlaskClient, request_id: str) -> None:
    for target in ("/healthz", "/nowhere", "/orders?limit=0"):
        answer = ask(client, target, X_Request_ID=request_id)
        assert answer.headers["x-request-id"] == request_id
        assert answer.json.get("request_id", request_id) == request_id


@pytest.mark.parametrize(
    "request_id",
    ["", " ", "x" * 129, "a b", "a,b", "caf\u00e9", "a;b", '"a"', "{a}", "<a>", "a\\b", "a%0a"],
)
def test_an_id_with_forbidden_characters_or_a_wrong_length_is_replaced(
    client: FlaskClient, request_id: str
) -> None:
    given = [ask(client, "/healthz", X_Request_ID=request_id) for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in given]
    assert ids[0] != ids[1]
    assert all(str(UUID(each)) == each for each in ids)


def test_a_request_with_two_ids_gets_a_new_one(shared_server: Server) -> None:
    received = shared_server.raw(
        raw_request("GET", "/healthz", "X-Request-ID: a", "X-Request-ID: b")
    )
    assert UUID(one_answer(received).headers["x-request-id"])


def test_each_request_of_a_connection_has_an_id_of_its_own(client: FlaskClient) -> None:
    ids = {ask(client, "/healthz").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
    assert ask(client, "/healthz", X_Request_ID="mine").headers["x-request-id"] == "mine"
    assert ask(client, "/healthz").headers["x-request-id"] != "mine"


def test_a_request_is_one_line_with_its_facts(shared_server: Server) -> None:
    created = shared_server.order("key-of-a-line", X_Request_ID="first")
    shared_server.order("key-of-a-line", X_Request_ID="again")
    shared_server.order("key-of-a-line", ORDER | {"quantity": 2}, X_Request_ID="conflict")
    shared_server.request("GET", created.headers["location"], headers={"X-Request-ID": "shown"})
    shared_server.request("GET", "/nowhere?secret=1", headers={"X-Request-ID": "lost"})
    (first,) = shared_server.lines_of("first")
    assert set(first) == LINE_OF_ALL | LINE_OF_REQUEST | {
        "request_id",
        "key_hash",
        "order_id",
        "replayed",
    }
    assert (first["method"], first["path"], first["status"]) == ("POST", "/orders", 201)
    assert (first["order_id"], first["replayed"]) == (created.json["order_id"], False)
    assert 0 < first["duration_ms"] < 60_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(\+00:00|Z)", first["time"])
    (again,) = shared_server.lines_of("again")
    assert (again["status"], again["replayed"]) == (201, True)
    assert (again["order_id"], again["key_hash"]) == (first["order_id"], first["key_hash"])
    (conflict,) = shared_server.lines_of("conflict")
    assert (conflict["status"], conflict["key_hash"]) == (409, first["key_hash"])
    (shown,) = shared_server.lines_of("shown")
    assert (shown["status"], shown["order_id"]) == (200, first["order_id"])
    (lost,) = shared_server.lines_of("lost")
    assert (lost["status"], lost["path"]) == (404, "/nowhere")


def test_a_key_is_in_the_log_only_as_a_short_hash(tmp_path: Path) -> None:
    key = "raw-secret-key"
    with serving(tmp_path, LOG_LEVEL="debug") as server:
        server.order(key, X_Request_ID="made")
        server.order(f'"{key}"', X_Request_ID="quoted")
        server.order(key, ORDER | {"quantity": 2})
        server.order(key, b"{")
        server.order(key + " x")
        server.order(key, X_Debug_Fail_After_Commit="true")
        server.request("GET", f"/orders?idempotency_key={key}")
        server.request("GET", f"/orders?idempotency_key=%22{key}")
        server.raw(raw_order(key, BODY, f"Idempotency-Key: {key}"))
        server.raw(raw_order(key, b"zz", "Transfer-Encoding: chunked"))
        server.raw(raw_order(key, BODY, "Content-Length: 900"))
        server.raw(raw_order(key + "\0", BODY))
        server.raw(raw_request("POST", "/orders", f"Idempotency-Key : {key}"))
        server.raw(raw_request("POST", "/orders", f"Idempotency-Key {key}"))
        server.raw(raw_request("GET", f"/orders?idempotency_key={key}&customer_id=caf\u00e9"))
        hashes = {line["key_hash"] for name in ("made", "quoted") for line in server.lines_of(name)}
        assert server.stop() == 0
        assert len(hashes) == 1
        assert re.fullmatch(r"[0-9a-f]{6,16}", hashes.pop())
        assert key not in server.log_path.read_text()


def test_everything_on_stderr_is_one_json_object_a_line(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.order("key-1")
        server.order("key-2", X_Debug_Fail_After_Commit="true")
        for data in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET / HTTP/9.9\r\n\r\n",
            b"get /healthz HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nX\r\n\r\n",
            b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
            b'GET /"\x1b[31m\xe2\x80\xa8 HTTP/1.1\r\n\r\n',
            b"GET /healthz HTTP/1.1\r\nX: \xff\xfe\x85\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nX: a\rb\x1b[2J\r\n\r\n",
            raw_request("GET", "/healthz", *[f"X-{n}: x" for n in range(120)]),
            raw_request("GET", "/healthz", "X: " + "x" * 9000),
            raw_order("k", b"zz\r\n", "Transfer-Encoding: chunked"),
            raw_request("GET", "/x%0a%0d%00%1b[31m%e2%80%a8%ff{%22a%22:1}"),
            raw_order("k", BODY, "Content-Length: 900"),
            raw_order("k", chunk(b" " * 90_000), "Transfer-Encoding: chunked"),
        ):
            server.raw(data)
        workers = set(server.workers())
        server.signal(signal.SIGHUP)
        wait_until(lambda: not workers & set(server.workers()) and len(server.workers()) == 2)
        assert server.order("key-1").status == 201
        assert server.stop() == 0
        lines = server.log_path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        assert line.isascii()
        assert line.decode().isprintable()
        assert set(json.loads(line)) >= LINE_OF_ALL
    messages = [json.loads(line)["message"] for line in lines]
    for expected in ("Starting gunicorn", "Booting worker", "Handling signal: hup", "term"):
        assert any(expected in message for message in messages)


def test_no_input_of_a_client_becomes_a_log_line_of_its_own(server: Server) -> None:
    forged = '%0a{"level":"CRITICAL","message":"forged"}%0a'
    server.request("GET", f"/orders/{forged}".replace('"', "%22"), headers={"X-Request-ID": "f1"})
    server.request("GET", "/healthz", headers={"X-Request-ID": '{"message":"forged"}'})
    server.raw(raw_request('X{"a":1}', "/healthz"))
    server.raw(raw_request("GET", "/healthz", 'X: \n{"message":"forged"}'))
    (line,) = server.lines_of("f1")
    assert "\n" in line["path"]
    assert server.stop() == 0
    assert all(each["message"] != "forged" for each in server.log_lines())
    assert all(each["level"] != "CRITICAL" for each in server.log_lines())


def test_a_long_path_makes_no_long_line(shared_server: Server) -> None:
    shared_server.request("GET", "/orders/" + "x" * 4000, headers={"X-Request-ID": "long"})
    (line,) = shared_server.lines_of("long")
    assert len(line["path"]) <= 256


def test_a_line_of_one_request_never_carries_the_id_of_another(server: Server) -> None:
    connection_after_connection = [
        raw_request("GET", "/healthz", "X-Request-ID: before"),
        raw_request("GET", "/healthz", "Not A Header: x"),
    ]
    for _ in range(5):
        for data in connection_after_connection:
            server.raw(data)
    assert server.stop() == 0
    refused = [line for line in server.log_lines() if line.get("status") == 400]
    assert len({line["request_id"] for line in refused}) == 5
    assert "before" not in {line["request_id"] for line in refused}


def test_at_a_level_above_info_requests_are_not_logged(tmp_path: Path) -> None:
    with serving(tmp_path, LOG_LEVEL="warning") as server:
        server.order("key-1")
        assert server.stop() == 0
        assert server.log_lines() == []
