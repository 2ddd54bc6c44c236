"""A request that the server itself refuses gets a problem document, an id and one log line."""

import socket
import uuid

import pytest

from orderapi.server import limits
from tests.server.corpus import AMBIGUOUS, BROKEN_CHUNKS
from tests.support.http_messages import (
    answers,
    check_problem,
    chunk,
    one_answer,
    raw_order,
    raw_request,
)
from tests.support.running import ORDER_BODY, Server

LONG = {
    "request line": raw_request("GET", "/" + "a" * limits.REQUEST_LINE_MAX_BYTES),
    "field": raw_request("GET", "/healthz", "X: " + "a" * limits.FIELD_MAX_BYTES),
    "fields": raw_request("GET", "/healthz", *["X: 1"] * limits.FIELDS_MAX),
    "head": raw_request("GET", "/healthz", *["X: " + "a" * 8000] * 9),
    "request line without an end": b"GET /" + b"a" * 2 * limits.REQUEST_LINE_MAX_BYTES,
    "head without an end": b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * limits.HEAD_MAX_BYTES,
}
LONG_CHUNKS = {
    "extension": b"1;a=" + b"a" * limits.CHUNK_LINE_MAX_BYTES + b"\r\n1\r\n0\r\n\r\n",
    "extension without an end": b"1;a=" + b"a" * 4 * limits.CHUNK_LINE_MAX_BYTES,
    "trailer": b"0\r\nX: " + b"a" * limits.TRAILER_MAX_BYTES + b"\r\n\r\n",
    "trailers": b"0\r\n" + b"X: 1\r\n" * (limits.FIELDS_MAX + 1) + b"\r\n",
    "extensions": b"1;a=bcdefghijklmnopqrstuvwxyz\r\n1\r\n" * 5000 + b"0\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_request_that_cannot_be_read_gets_a_problem_document_and_one_line(
    clean: Server, name: str
) -> None:
    answer = one_answer(clean.raw(AMBIGUOUS[name]))
    check_problem(answer, "bad-request")
    assert answer.headers["connection"] == "close"
    request_id = answer.headers["x-request-id"]
    assert str(uuid.UUID(request_id)) == request_id
    (line,) = clean.lines_of(request_id)
    assert (line["message"], line["status"]) == ("request", 400)
    assert line["address"] == "127.0.0.1"
    assert line["reason"] == answer.json["detail"]


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
def test_broken_chunks_get_one_answer_that_closes_the_connection(clean: Server, name: str) -> None:
    stream = BROKEN_CHUNKS[name].replace(b"Host: a", b"Host: a\r\nIdempotency-Key: broken", 1)
    answer = one_answer(clean.raw(stream))
    check_problem(answer, "bad-request")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("name", LONG)
def test_a_head_beyond_a_limit_is_refused(clean: Server, name: str) -> None:
    check_problem(one_answer(clean.raw(LONG[name])), "bad-request")


@pytest.mark.parametrize("name", LONG_CHUNKS)
def test_chunks_beyond_a_limit_are_refused(clean: Server, name: str) -> None:
    stream = raw_order("long", LONG_CHUNKS[name], "Transfer-Encoding: chunked")
    check_problem(one_answer(clean.raw(stream)), "bad-request")


def test_a_request_exactly_at_a_limit_is_served(clean: Server) -> None:
    for request in (
        raw_request("GET", "/healthz?" + "a" * (limits.REQUEST_LINE_MAX_BYTES - 22)),
        raw_request("GET", "/healthz", "X: " + "a" * (limits.FIELD_MAX_BYTES - 5)),
        raw_request("GET", "/healthz", *["X: 1"] * (limits.FIELDS_MAX - 1)),
    ):
        assert one_answer(clean.raw(request)).status == 200


def test_a_refused_request_keeps_the_id_that_it_sent(clean: Server) -> None:
    request = raw_request("GET", "/healthz", "X-Request-Id: mine-1", "No-Colon")
    answer = one_answer(clean.raw(request))
    assert answer.headers["x-request-id"] == answer.json["request_id"] == "mine-1"
    strange = raw_request("GET", "/healthz", 'X-Request-Id: {"mine"}', "No-Colon")
    assert uuid.UUID(one_answer(clean.raw(strange)).headers["x-request-id"])


@pytest.mark.parametrize("expects", [(), ("Expect: 100-continue",)])
@pytest.mark.parametrize("length", [2 * 1024 * 1024, 6 * 1024 * 1024])
def test_a_client_that_sends_a_large_body_before_it_reads_gets_the_refusal(
    clean: Server, length: int, expects: tuple[str, ...]
) -> None:
    """A connection reset must not discard the answer before the client reads it."""
    for framing, body in (
        ((), b" " * length),
        (("Transfer-Encoding: chunked",), chunk(b" " * length) + b"0\r\n\r\n"),
    ):
        request = raw_order("large", body, *framing, *expects)
        with socket.create_connection(("127.0.0.1", clean.port), timeout=30) as connection:
            connection.sendall(request)
            received = b""
            while data := connection.recv(65_536):
                received += data
        answer = answers(received)[-1]
        check_problem(answer, "body-too-large")
        assert answer.headers["connection"] == "close"


def test_a_body_that_is_announced_as_too_large_gets_no_100_continue(clean: Server) -> None:
    head = raw_order("large", b"", "Content-Length: 20000", "Expect: 100-continue")
    with socket.create_connection(("127.0.0.1", clean.port), timeout=30) as connection:
        connection.sendall(head)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_expected_gets_100_continue(shared_server: Server) -> None:
    length = f"Content-Length: {len(ORDER_BODY)}"
    with socket.create_connection(("127.0.0.1", shared_server.port), timeout=30) as connection:
        connection.sendall(raw_order("asked", b"", length, "Expect: 100-continue"))
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(ORDER_BODY)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")


def test_a_client_that_has_closed_its_sending_side_gets_all_its_answers(clean: Server) -> None:
    for count in (1, 2, 50):
        received = clean.raw(raw_request("GET", "/healthz") * count)
        assert [answer.status for answer in answers(received)] == [200] * count


@pytest.mark.parametrize(
    ("version", "connection", "says"),
    [
        ("1.0", "", "close"),
        ("1.0", "keep-alive", "keep-alive"),
        ("1.0", "Keep-Alive, close", "close"),
        ("1.1", "", "keep-alive"),
        ("1.1", "close", "close"),
        ("1.1", "TE, Close", "close"),
    ],
)
def test_an_answer_says_whether_its_connection_is_kept(
    clean: Server, version: str, connection: str, says: str
) -> None:
    field = f"Connection: {connection}\r\n" if connection else ""
    request = f"GET /healthz HTTP/{version}\r\nHost: a\r\n{field}\r\n".encode()
    found = answers(clean.raw(request * 2))
    assert found[0].headers["connection"] == says
    assert len(found) == (2 if says == "keep-alive" else 1)


def test_an_answer_with_204_has_no_content_length_and_one_to_head_has(clean: Server) -> None:
    options = one_answer(clean.raw(raw_request("OPTIONS", "/orders")))
    assert options.status == 204
    assert "content-length" not in options.headers
    received = clean.raw(raw_request("HEAD", "/healthz"))
    assert received.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: 16\r\n" in received
