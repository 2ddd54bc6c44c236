"""Reads requests from the bytes of a connection. This module uses no socket and no clock."""

import io
from typing import Any

from orderapi.server.body import ChunkedBody, SizedBody, UnreadableBody
from orderapi.server.head import CHUNKED, NO_HEAD, Environ, Head, read_head, sent_request_id
from orderapi.server.head_grammar import END, RequestRefused, check_incomplete_head
from orderapi.server.limits import BODY_READ_MAX_BYTES

# The next bytes of a connection are the first bytes of a request, or they continue its head or its
# body.
IDLE, HEAD, BODY = range(3)

_CR = ord("\r")


class Request:
    """A request as the app gets it.

    The app reads `body`. If `is_last` is true, the body was not read to its end. Then the server
    does not know where the next request begins, and the connection must end after the answer.
    """

    __slots__ = ("body", "head", "is_last")

    def __init__(self, head: Head, body: Any, *, is_last: bool = False) -> None:
        self.head = head
        self.body = body
        self.is_last = is_last


class RequestReader:
    """Finds the requests in the bytes of one connection.

    `base` contains the entries that the environ of each request of the connection has. `phase` says
    what the next bytes are: IDLE, HEAD or BODY.
    """

    __slots__ = ("_base", "_body", "_buffer", "_has_skipped_line", "_head", "phase")

    def __init__(self, base: Environ) -> None:
        self._base = base
        self._buffer = b""
        self._head = NO_HEAD
        self._body: SizedBody | ChunkedBody = _NO_BODY
        self._has_skipped_line = False
        self.phase = IDLE

    def feed(self, data: bytes = b"") -> Request | None:
        """Add the next bytes, and return the request if it is whole now. `data` may be empty.

        Raises RequestRefused if the request cannot be read. Then the rest of the connection cannot
        be read either.
        """
        if self.phase == BODY:
            return self._read_body(data)
        buffer = self._buffer = self._buffer + data if self._buffer else data
        return self._read_head(buffer) if buffer else None

    def keep_for_later(self, data: bytes) -> int:
        """Keep bytes that follow the current request. Return how many bytes are kept now."""
        self._buffer += data
        return len(self._buffer)

    def end(self) -> Request | None:
        """Return the request that is cut short, if there is one, when the client sends no more.

        Raises RequestRefused if the head of a request has arrived only in part.
        """
        if self.phase == BODY:
            return self.cut_short()
        if self._buffer.strip(b"\r\n"):
            raise RequestRefused("The connection ended before the head of the request was whole.")
        return None

    def cut_short(self) -> Request:
        """Return the request whose body is being read, although the body is not whole."""
        return self._finish_request(self._body.cut_short(), is_last=True)

    @property
    def has_more(self) -> bool:
        """Whether there are bytes that belong to no request yet."""
        return bool(self._buffer)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
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
            return self._finish_request(io.BytesIO())
        self._buffer = b""
        if head.length > BODY_READ_MAX_BYTES:
            # The app refuses the request because of its Content-Length.
            return self._finish_request(io.BytesIO(), is_last=True)
        self._body = ChunkedBody() if head.length == CHUNKED else SizedBody(head.length)
        self.phase = BODY
        return self._read_body(rest)

    def _read_body(self, data: bytes) -> Request | None:
        body = self._body
        try:
            rest = body.feed(data)
        except RequestRefused as refused:
            # The app chooses the answer, because a 404 or a 401 has priority over this refusal.
            return self._finish_request(UnreadableBody(str(refused)), is_last=True)
        if rest is not None:
            self._buffer = rest
            return self._finish_request(io.BytesIO(body.content()))
        if body.is_too_large:
            return self._finish_request(io.BytesIO(body.content()), is_last=True)
        return None

    def _finish_request(self, body: Any, *, is_last: bool = False) -> Request:
        self.phase = IDLE
        self._has_skipped_line = False
        self._body = _NO_BODY
        return Request(self._head, body, is_last=is_last)


_NO_BODY = SizedBody(0)
