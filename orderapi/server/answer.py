"""Runs the app for one request (PEP 3333), and writes its answer so that one system call sends it.

With a system call for the head and another one for the body, each answer would take longer and wake
the client twice. If the worker were killed between them, the client would have a head without a
body, and then no proxy may send the request to another worker.
"""

import logging
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from orderapi.server.head import Environ, Head

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Headers = list[tuple[str, str]]
# The statuses whose answers have no body (RFC 9110, section 6.4.1).
_WITHOUT_BODY = ("204", "304")
_KEEP_ALIVE = b"Connection: keep-alive\r\n\r\n"
_CLOSE = b"Connection: close\r\n\r\n"

_log = logging.getLogger(__name__)


class Answer:
    """An answer as the app gives it: first its head, then its body."""

    __slots__ = ("_written", "body", "headers", "status")

    def __init__(self, status: str = "", headers: Headers | None = None, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers or []
        self.body = body
        self._written: list[bytes] = []

    def start_response(
        self, status: str, headers: Headers, exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """Store the head of the answer. A head that comes with an error replaces the one before.

        Raises RuntimeError if the app calls this method twice without an error.
        """
        if self.status and not exc_info:
            raise RuntimeError("the app called start_response twice")
        self.status = status
        self.headers = headers
        return self._written.append

    def collect(self, parts: Iterable[bytes]) -> None:
        """Read the body from the iterable that the app returned, and close the iterable.

        Raises RuntimeError if the app has not called start_response.
        """
        try:
            self.body = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        if self._written:
            self.body = b"".join(self._written) + self.body
        if not self.status:
            raise RuntimeError("the app did not call start_response")


# A function that returns the answer that is sent when the app fails.
FailureAnswer = Callable[[Environ], Answer]


def run_app(
    app: "WSGIApplication", head: Head, common_lines: "CommonHeaderLines", failure: FailureAnswer
) -> tuple[bytes, bytes]:
    """Run the app for one request, and return its answer as `encode_answer` does.

    If the app raises an exception, or if its answer is not valid HTTP, the error is logged, and
    `failure` makes the answer.
    """
    answer = Answer()
    try:
        answer.collect(app(head.environ, answer.start_response))
        return encode_answer(answer, head, common_lines)
    except Exception:
        _log.exception("the app failed; the request was answered with 500")
        return encode_answer(failure(head.environ), head, common_lines)


def encode_answer(
    answer: Answer, head: Head, common_lines: "CommonHeaderLines"
) -> tuple[bytes, bytes]:
    """Return the head and the body of an answer as bytes. The head contains the body's length.

    Raises ValueError if a header has a line break or a character that is not in latin-1, or if the
    app gave a length that is not the length of the body.
    """
    lines = [f"{head.version} {answer.status}\r\n{common_lines.now()}"]
    body = b"" if head.is_head or answer.status[:3] in _WITHOUT_BODY else answer.body
    has_length = answer.status[:3] in _WITHOUT_BODY or head.is_head
    for name, value in answer.headers:
        if name.lower() == "content-length":
            if answer.status[:3] == "204":
                continue
            if not has_length and int(value) != len(body):
                raise ValueError(f"the app announced {value} bytes and gave {len(body)}")
            has_length = True
        lines.append(f"{name}: {value}\r\n")
    if not has_length:
        lines.append(f"Content-Length: {len(body)}\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines) + CommonHeaderLines.COUNT or text.count("\r") != text.count(
        "\n"
    ):
        raise ValueError("the app gave a header with a line break")
    return text.encode("latin-1"), body


def join_answer(encoded: tuple[bytes, bytes], *, keeps_alive: bool) -> bytes:
    """Return the bytes of an answer that says whether its connection is kept."""
    head, body = encoded
    return head + (_KEEP_ALIVE if keeps_alive else _CLOSE) + body


class CommonHeaderLines:
    """The header lines that every answer has: `Server` with the value `server`, and `Date`."""

    COUNT = 2

    def __init__(self, server: str) -> None:
        self._server = server
        self._second = 0
        self._lines = ""

    def now(self) -> str:
        """Return the lines for the current time. They are made at most once a second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._lines = f"Server: {self._server}\r\nDate: {date}\r\n"
        return self._lines
