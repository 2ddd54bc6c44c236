"""Reads the body of a request, in one of the two framings of RFC 9112, section 6.

httptools reports neither where in its input a message ends nor how long a chunk's extensions are.
The worker needs both. Therefore this module reads the framing of bodies itself.
"""

import io
import re
from typing import Any

from orderapi.server.head_grammar import RequestRefused
from orderapi.server.limits import (
    BODY_READ_MAX_BYTES,
    CHUNK_FRAMING_MAX_BYTES,
    CHUNK_LINE_MAX_BYTES,
    FIELDS_MAX,
    TRAILER_MAX_BYTES,
)

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
# RFC 9112, section 7.1.1.
_CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16}+)"
    rb"(?:[ \t]*+;[ \t]*+"
    + _TOKEN
    + rb"(?:[ \t]*+=[ \t]*+(?:"
    + _TOKEN
    + rb"|"
    + _QUOTED
    + rb"))?+)*+"
)
_TRAILER = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+")
# RFC 9110, section 6.5.1: these would change how the message is framed, routed or authenticated.
_NEVER_TRAILERS = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"trailer", b"authorization", b"te")
)


class SizedBody:
    """A body whose length the head contains (Content-Length)."""

    __slots__ = ("_missing", "_parts")

    # The worker does not begin to read a body whose Content-Length is too large.
    is_too_large = False

    def __init__(self, length: int) -> None:
        self._missing = length
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bytes | None:
        """Add the next bytes. Return what follows the body if it is whole now, else None."""
        self._parts.append(data[: self._missing])
        if len(data) < self._missing:
            self._missing -= len(data)
            return None
        return data[self._missing :]

    def content(self) -> bytes:
        """Return the bytes of the body that have arrived."""
        return b"".join(self._parts)

    def cut_short(self) -> Any:
        """Return the app's input for a body that ends before its Content-Length is reached."""
        return io.BytesIO(self.content())


class ChunkedBody:
    """A body in chunks (RFC 9112, section 7.1).

    Each line must end with CRLF. Extensions and trailers are checked, then discarded.
    """

    __slots__ = (
        "_buffer",
        "_content",
        "_framing_bytes",
        "_is_whole",
        "_missing",
        "_read",
        "_trailers",
    )

    def __init__(self) -> None:
        self._buffer = b""
        self._content = bytearray()
        self._framing_bytes = 0
        self._is_whole = False
        self._missing = 0
        self._trailers = 0
        self._read = self._read_size

    def feed(self, data: bytes) -> bytes | None:
        """Add the next bytes. Return what follows the body if it is whole now, else None.

        Raises RequestRefused if the chunks are malformed.
        """
        self._buffer += data
        while not self._is_whole and self._read():
            pass
        return self._buffer if self._is_whole else None

    @property
    def is_too_large(self) -> bool:
        """Whether the body is already longer than the app accepts."""
        return len(self._content) >= BODY_READ_MAX_BYTES

    def content(self) -> bytes:
        """Return the bytes of the body that have arrived."""
        return bytes(self._content)

    def cut_short(self) -> Any:
        """Return the app's input for a body that ends early. Reading it raises OSError."""
        return UnreadableBody("The connection ended in the middle of a chunk.")

    def _read_size(self) -> bool:
        line = self._next_line(CHUNK_LINE_MAX_BYTES)
        if line is None:
            return False
        parts = _CHUNK_LINE.fullmatch(line)
        if parts is None:
            raise RequestRefused("A chunk of the body has no valid size.")
        self._missing = int(parts[1], 16)
        self._read = self._read_data if self._missing else self._read_trailer
        return True

    def _read_data(self) -> bool:
        part = self._buffer[: self._missing]
        # Bytes beyond the maximum are not kept.
        self._content += part[: BODY_READ_MAX_BYTES - len(self._content)]
        self._missing -= len(part)
        self._buffer = self._buffer[len(part) :]
        if self._missing:
            return False
        self._read = self._read_data_end
        return True

    def _read_data_end(self) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise RequestRefused("A chunk of the body is longer than its size.")
        if len(self._buffer) < 2:
            return False
        self._discard(2)
        self._read = self._read_size
        return True

    def _read_trailer(self) -> bool:
        line = self._next_line(TRAILER_MAX_BYTES)
        if line is None:
            return False
        self._trailers += 1
        if not line:
            self._is_whole = True
        elif self._trailers > FIELDS_MAX:
            raise RequestRefused(f"The body has more than {FIELDS_MAX} trailer fields.")
        elif not _TRAILER.fullmatch(line) or line.split(b":")[0].lower() in _NEVER_TRAILERS:
            raise RequestRefused("A trailer field of the body is malformed or not allowed.")
        return True

    def _next_line(self, max_bytes: int) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > max_bytes:
                raise RequestRefused("A line between the chunks of the body is too long.")
            return None
        line = self._buffer[:end]
        if end > max_bytes or not line.endswith(b"\r"):
            raise RequestRefused(
                "A line between the chunks of the body is too long, or not ended by CRLF."
            )
        self._discard(end + 1)
        return line[:-1]

    def _discard(self, count: int) -> None:
        self._framing_bytes += count
        if self._framing_bytes > CHUNK_FRAMING_MAX_BYTES:
            raise RequestRefused(f"The chunk lines have more than {CHUNK_FRAMING_MAX_BYTES} bytes.")
        self._buffer = self._buffer[count:]


class UnreadableBody:
    """The app's input for a body that cannot be read. `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def read(self, _size: int = -1) -> bytes:
        """Raise OSError."""
        raise OSError(self.reason)

    readline = read
