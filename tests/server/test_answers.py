"""The server runs the app as WSGI (PEP 3333) says, and sends one well-framed answer."""

import io
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from orderapi.server.answer import Answer, CommonHeaderLines, join_answer, run_app
from orderapi.server.head import Environ, read_head
from tests.server.corpus import message
from tests.server.reading import BASE

LINES = CommonHeaderLines("gunicorn")


def answered(app: Any, method: bytes = b"GET") -> bytes:
    """Give the bytes of an app's answer. If the app fails, its status is `500 FAILED`."""
    head = read_head(message(method + b" / HTTP/1.1", b"Host: a"), dict(BASE))
    head.environ["wsgi.input"] = io.BytesIO()
    failure = Answer("500 FAILED", [("X", "failed")], b"failed")
    return join_answer(run_app(app, head, LINES, lambda _: failure), keeps_alive=True)


class Parts:
    """An iterable body that notes whether it was closed."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        self.is_closed = True


def giving(body: Iterable[bytes], status: str = "200 OK", *headers: tuple[str, str]) -> Any:
    def app(_: Environ, start_response: Any) -> Iterable[bytes]:
        start_response(status, list(headers))
        return body

    return app


def test_a_body_in_parts_leaves_with_its_length_and_is_closed() -> None:
    parts = Parts([b"a", b"", b"bc"])
    received = answered(giving(parts))
    assert received.endswith(b"\r\n\r\nabc")
    assert b"\r\nContent-Length: 3\r\n" in received
    assert b"\r\nConnection: keep-alive\r\n" in received
    assert received.startswith(b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: ")
    assert parts.is_closed


def test_what_is_written_comes_before_what_is_returned() -> None:
    def app(_: Environ, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"b")
        return [b"c"]

    assert answered(app).endswith(b"\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc")


def test_a_head_after_an_error_replaces_the_first() -> None:
    def app(_: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X", "first")])
        try:
            raise KeyError
        except KeyError:
            start_response("404 NOT FOUND", [("X", "second")], sys.exc_info())
        return [b"none"]

    received = answered(app)
    assert received.startswith(b"HTTP/1.1 404 NOT FOUND\r\n")
    assert b"first" not in received


def test_a_head_request_gets_the_length_and_no_body() -> None:
    received = answered(giving([b"abc"], "200 OK", ("Content-Length", "3")), b"HEAD")
    assert b"\r\nContent-Length: 3\r\n" in received
    assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", ["204 NO CONTENT", "304 NOT MODIFIED"])
def test_a_status_without_a_body_has_none(status: str) -> None:
    received = answered(giving([b"abc"], status))
    assert received.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in received


def _raises(_: Environ, __: Any) -> list[bytes]:
    raise RuntimeError


def _raises_in_its_body(_: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"a"
    raise RuntimeError


def _starts_twice(_: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


@pytest.mark.parametrize(
    "app",
    [
        _raises,
        _raises_in_its_body,
        _starts_twice,
        lambda _, __: [b"no head"],
        giving([b"abc"], "200 OK", ("Content-Length", "4")),
        giving([b"abc"], "200 OK", ("Content-Length", "x")),
        giving([b"abc"], "200 OK", ("X", "a\r\nSet-Cookie: b")),
        giving([b"abc"], "200 OK", ("X", "a\nb")),
        giving([b"abc"], "200 OK", ("X\r\nY", "a")),
        giving([b"abc"], "200 OK\r\nX: y"),
        giving(["text"]),  # type: ignore[list-item]  # what the server must survive
        giving([b"abc"], "200 OK", ("X", "\u20ac")),
    ],
)
def test_an_app_that_gives_no_valid_answer_is_answered_with_500(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        received = answered(app)
    assert received.startswith(b"HTTP/1.1 500 FAILED\r\n")
    assert received.endswith(b"\r\n\r\nfailed")
    assert len(caplog.records) == 1
