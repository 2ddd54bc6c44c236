"""Reading requests from the bytes of a connection. This module knows no socket and no clock."""

import io
from typing import Any

from orderapi.server.body import ChunkedBody, SizedBody, Unreadable
from orderapi.server.head import (
    CHUNKED,
    END,
    NO_HEAD,
    Environ,
    Head,
    RequestRefused,
    check_incomplete_head,
    read_head,
    sent_request_id,
)
from orderapi.server.limits import BODY_READ_MAX_BYTES

# What the next bytes of a connection are: the first of a request, or more of its head or body.
IDLE, HEAD, BODY = range(3)

_CR = ord("\r")


class Request:
    """A request as the app gets it.

    The app reads `body`. If `is_last` is true, the body was not read to its end. Then nobody knows
    where the next request begins, and the connection must end with the answer.
    """

    __slots__ = ("body", "head", "is_last")

    def __init__(self, head: Head, body: Any, *, is_last: bool = False) -> None:
        self.head = head
        self.body = body
        self.is_last = is_last


class RequestReader:
    """Finds the requests in the bytes of one connection.

    `base` contains what is the same in the environ of each request of the connection. `phase` says
    what the next bytes are.
    """

    __slots__ = ("_base", "_body", "_buffer", "_has_skipped_line", "_head", "phase")

    def __init__(self, base: Environ) -> None:
        self._base = base
        self._buffer = b""
        self._head = NO_HEAD
        self._body: SizedBody | ChunkedBody = _NO_BODY
        self._has_skipped_line = False
        self.phase = IDLE

    def take(self, data: bytes = b"") -> Request | None:
        """Add the next bytes, which may be none, and return the request if it is whole now.

        Raises RequestRefused if the request cannot be read. Then the rest of the connection cannot
        be read either.
        """
        if self.phase == BODY:
            return self._read_body(data)
        buffer = self._buffer = self._buffer + data if self._buffer else data
        return self._read_head(buffer) if buffer else None

    def keep(self, data: bytes) -> int:
        """Keep bytes of further requests for later, and return how many bytes are kept."""
        self._buffer += data
        return len(self._buffer)

    def end(self) -> Request | None:
        """Note that no more bytes will come, and return the request that is cut short, if any.

        Raises RequestRefused if its head is not whole.
        """
        if self.phase == BODY:
            return self.cut_short()
        if self._buffer.strip(b"\r\n"):
            raise RequestRefused("The connection ended before the head of the request was whole.")
        return None

    def cut_short(self) -> Request:
        """Return the request whose body is being read, although the body is not whole."""
        return self._give(self._body.cut_short(), is_last=True)

    @property
    def has_more(self) -> bool:
        """Whether there are bytes that no request has been read from yet."""
        return bool(self._buffer)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told that its body is wanted."""
        return self.phase == BODY and self._head.expects_continue

    @property
    def sent_request_id(self) -> str:
        """The X-Request-ID of a head that was refused, or an empty string."""
        return sent_request_id(self._buffer)

    def _read_head(self, buffer: bytes) -> Request | None:
        if buffer[0] == _CR and len(buffer) > 1 and not self._has_skipped_line:
            # RFC 9112, section 2.2: an empty line before a request is ignored.
            self._has_skipped_line = True
            buffer = self._buffer = buffer.removeprefix(b"\r\n")
        end = buffer.find(END) + len(END)
        if end < len(END):
            check_incomplete_head(buffer)
            self.phase = HEAD
            return None
        head = self._head = read_head(buffer[:end], self._base)
        rest = buffer[end:]
        if not head.length:
            self._buffer = rest
            return self._give(io.BytesIO())
        self._buffer = b""
        if head.length > BODY_READ_MAX_BYTES:
            # The app sees from the announced length that this is too large.
            return self._give(io.BytesIO(), is_last=True)
        self._body = ChunkedBody() if head.length == CHUNKED else SizedBody(head.length)
        self.phase = BODY
        return self._read_body(rest)

    def _read_body(self, data: bytes) -> Request | None:
        body = self._body
        try:
            rest = body.feed(data)
        except RequestRefused as refused:
            # The app decides on the answer, because a 404 or a 401 comes before this refusal.
            return self._give(Unreadable(str(refused)), is_last=True)
        if rest is not None:
            self._buffer = rest
            return self._give(io.BytesIO(body.content()))
        if body.is_too_large:
            return self._give(io.BytesIO(body.content()), is_last=True)
        return None

    def _give(self, body: Any, *, is_last: bool = False) -> Request:
        self.phase = IDLE
        self._has_skipped_line = False
        self._body = _NO_BODY
        return Request(self._head, body, is_last=is_last)


_NO_BODY = SizedBody(0)
