"""Requests that `POST /orders` refuses before it reads the JSON. It stores nothing of them."""

import json
import socket

import pytest
from flask.testing import FlaskClient

from tests.support.http_messages import (
    JSON_TYPE,
    answers,
    check_problem,
    chunk,
    one_answer,
    order,
    raw_order,
    raw_request,
)
from tests.support.running import ORDER, Server

BODY = json.dumps(ORDER).encode()
CHUNKED = "Transfer-Encoding: chunked"
KEY = "Idempotency-Key: "


# The body's framing.


@pytest.mark.parametrize("announced", [len(BODY) + 1, 500, 16_384])
def test_a_body_cut_short_is_never_executed(clean: Server, announced: int) -> None:
    received = clean.raw(raw_order("cut", BODY, f"Content-Length: {announced}"))
    check_problem(one_answer(received), "bad-request")


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n" + BODY,
        b"\r\n" + BODY,
        b"-1\r\n" + BODY,
        b"0x5\r\n" + BODY,
        b"%x \r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"%x\n%s\n0\n\n" % (len(BODY), BODY),
        chunk(BODY)[:-2] + b"0\r\n\r\n",
        chunk(BODY),
        chunk(BODY) + b"0\r\n",
        chunk(BODY) + b"zz\r\n\r\n",
        chunk(BODY) + b"5\r\n",
        b"%x\r\n%s" % (len(BODY) + 5, BODY),
        b"f" * 20 + b"\r\n" + BODY,
        b"",
    ],
)
def test_a_body_with_broken_chunks_is_never_executed(clean: Server, body: bytes) -> None:
    received = clean.raw(raw_order("chunks", body, CHUNKED))
    check_problem(one_answer(received), "bad-request")


@pytest.mark.parametrize("length", [16_385, 20_000, 200_000, 1_000_000])
def test_a_body_over_16_kib_is_too_large_in_both_framings(clean: Server, length: int) -> None:
    body = BODY + b" " * (length - len(BODY))
    check_problem(one_answer(clean.raw(raw_order("large", body))), "body-too-large")
    chunks = b"".join(chunk(body[n : n + 1000]) for n in range(0, length, 1000)) + b"0\r\n\r\n"
    check_problem(one_answer(clean.raw(raw_order("large", chunks, CHUNKED))), "body-too-large")


def test_a_body_that_the_app_does_not_read_is_discarded(clean: Server) -> None:
    for method, target, slug in (
        ("POST", "/no", "not-found"),
        ("PUT", "/orders", "method-not-allowed"),
    ):
        received = clean.raw(raw_request(method, target, body=b" " * 500_000))
        check_problem(one_answer(received), slug)
        received = clean.raw(raw_request(method, target, CHUNKED, body=b"zz\r\n\r\n"))
        check_problem(one_answer(received), slug)


def test_a_client_that_stops_in_the_middle_of_a_body_is_refused(clean: Server) -> None:
    with socket.create_connection(("127.0.0.1", clean.port), timeout=30) as connection:
        connection.sendall(raw_order("stops", BODY, "Content-Length: 900"))
        received = b""
        while not received.endswith(b"}\n"):
            data = connection.recv(65536)
            assert data, received
            received += data
    check_problem(one_answer(received), "bad-request")


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_arrives(clean: Server) -> None:
    received = clean.raw(raw_order("large", b"{", "Content-Length: 99999999999999999999"))
    check_problem(one_answer(received), "body-too-large")


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", f"Content-Length: {len(BODY)}"),
        (f"Content-Length: {len(BODY)}", CHUNKED),
        ("Content-Length: -1",),
        ("Content-Length: +54",),
        ("Content-Length: 5_4",),
        ("Content-Length: x",),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: x",),
        ("Bad Name: x",),
        ("No-Colon",),
        ("X: a\0b",),
        (" folded: x",),
        (JSON_TYPE,),
    ],
)
def test_what_is_not_http_is_refused_by_the_server_itself(
    clean: Server, headers: tuple[str, ...]
) -> None:
    received = clean.raw(raw_order("framing", BODY, *headers))
    assert 400 <= answers(received)[0].status <= 501
    assert b"Traceback" not in received


def test_after_a_refused_request_the_connection_serves_the_next_one(clean: Server) -> None:
    requests = (
        raw_order("bad key", BODY)
        + raw_order("k", b"{")
        + raw_order("k", BODY.replace(b"1}", b"0}"), "Expect: 100-continue")
        + raw_request("POST", "/nowhere", JSON_TYPE, body=BODY)
        + raw_request("PUT", "/orders", CHUNKED, body=chunk(BODY) + b"0\r\n\r\n")
        + raw_request("GET", "/healthz", "Content-Length: 5", body=b"GET /")
        + raw_request("GET", "/healthz")
    )
    statuses = [answer.status for answer in answers(clean.raw(requests))]
    assert statuses == [400, 400, 100, 422, 404, 405, 200, 200]


@pytest.mark.parametrize(
    "host", ["", "a" * 300, "\u00e9..x", "a:b:c", "[::1", "127.0.0.1:999999", "<script>", "a b"]
)
def test_an_unusual_host_is_no_internal_error(clean: Server, host: str) -> None:
    request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
    answer = one_answer(clean.raw(request))
    assert answer.status in (200, 400)
    assert answer.headers["x-request-id"]


def test_http_1_0_is_answered_and_closed(clean: Server) -> None:
    answer = one_answer(clean.raw(b"GET /nowhere HTTP/1.0\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n"))
    check_problem(answer, "not-found")
    assert answer.headers["connection"] == "close"


# The content type.


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-patch+json",
        "application/problem+json",
        "application/json5",
        "text/json",
        "json",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/*",
        "*/*",
        "\u00e9",
        "",
    ],
)
def test_other_content_types_are_refused(refusing: FlaskClient, content_type: str) -> None:
    check_problem(order(refusing, "k", Content_Type=content_type), "unsupported-media-type")


def test_a_missing_content_type_is_refused(clean: Server) -> None:
    received = clean.raw(raw_request("POST", "/orders", KEY + "k", body=BODY))
    check_problem(one_answer(received), "unsupported-media-type")


@pytest.mark.parametrize("encoding", ["gzip", "identity", "deflate, br", "", "utf-8"])
def test_a_content_encoding_is_refused(refusing: FlaskClient, encoding: str) -> None:
    check_problem(order(refusing, "k", Content_Encoding=encoding), "unsupported-media-type")


# The key.


def test_a_missing_key_is_refused(refusing: FlaskClient) -> None:
    check_problem(order(refusing, None), "idempotency-key-missing")


def test_a_key_in_a_header_of_another_spelling_is_missing(clean: Server) -> None:
    for other in ("Idempotency_Key: k", "Idempotency-Keys: k", "X-Idempotency-Key: k"):
        received = clean.raw(raw_request("POST", "/orders", JSON_TYPE, other, body=BODY))
        check_problem(one_answer(received), "idempotency-key-missing")


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "\t",
        '""',
        "a b",
        "a,b",
        'a"b',
        'a"',
        '"',
        '"a',
        '"a"b',
        '"a";q=1',
        '"a"; q=1',
        '"a", "b"',
        '"a""b"',
        '"a\\"',
        '"a\\b"',
        '"a\tb"',
        "a\tb",
        "caf\u00e9",
        '"caf\u00e9"',
        "k\u00a0",
        "k" * 256,
        '"' + "k" * 256 + '"',
    ],
)
def test_a_key_of_neither_form_is_refused(clean: Server, key: str) -> None:
    check_problem(one_answer(clean.raw(raw_order(key, BODY))), "idempotency-key-invalid")


@pytest.mark.parametrize(
    "keys",
    [
        ("a", "b"),
        ("a", "a"),
        ('"a"', '"a"'),
        ('"a', 'b"'),
        ('"a', "b"),
        ('"a', '"b"'),
        ('"', '"'),
        ('"', ""),
        ("", ""),
        ("", "a"),
        ("a", ""),
        ('"a', "b", 'c"'),
        ('"a', "b", "c"),
        ('"a\\', '"'),
        ('"a\\', "b"),
    ],
)
def test_two_key_headers_are_refused_even_if_they_are_equal_or_join_to_a_key(
    clean: Server, keys: tuple[str, ...]
) -> None:
    headers = [
        f"{name}: {key}"
        for name, key in zip(
            ["Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"], keys, strict=False
        )
    ]
    received = clean.raw(raw_request("POST", "/orders", JSON_TYPE, *headers, body=BODY))
    problem = check_problem(one_answer(received), "idempotency-key-invalid")
    if keys == ("a", "b"):  # each of them alone is a valid key
        assert problem["detail"].startswith("Exactly one Idempotency-Key header is needed.")
