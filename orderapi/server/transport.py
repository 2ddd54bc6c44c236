"""A client's socket in the event loop."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from orderapi.server.limits import READ_MAX_BYTES

_READABLE, _WRITABLE = 1, 2


class Transport:
    """A socket that never blocks.

    `on_readable` is called when bytes have arrived, or when the client has closed its sending side.
    `on_sent` is called each time that more of an answer was sent. `loop` is gevent's event loop.
    """

    __slots__ = (
        "_is_paused",
        "_loop",
        "_on_readable",
        "_on_sent",
        "_reader",
        "_sock",
        "_unsent",
        "_writer",
    )

    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        on_readable: Callable[[], None],
        on_sent: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_readable = on_readable
        self._on_sent = on_sent
        self._unsent = b""
        self._writer: Any = None
        # There is one watcher for the whole connection. A new one for each request would be slower.
        self._reader: Any = loop.io(sock.fileno(), _READABLE)
        self._is_paused = False
        self._reader.start(on_readable)

    def receive(self) -> bytes | None:
        """Return the bytes that have arrived, or None if there are none yet.

        The result is empty if the client has closed its sending side.

        Raises OSError if the client has reset the connection.
        """
        try:
            return self._sock.recv(READ_MAX_BYTES)
        except (BlockingIOError, InterruptedError):
            return None

    def send(self, data: bytes) -> bool:
        """Send bytes, and return whether all were sent. The rest is sent as the client reads.

        Raises OSError if the client is gone.
        """
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            if sent == len(data):
                return True
            data = data[sent:]
        self._unsent += data
        if self._writer is None:
            self._writer = self._loop.io(self._sock.fileno(), _WRITABLE)
            self._writer.start(self._send_rest)
        return False

    def _send_rest(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The client is gone. The next call of `send` or `recv` raises the same error.
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._stop_writing()
        self._on_sent()

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait until the client reads."""
        return bool(self._unsent)

    def pause(self) -> None:
        """Stop reading until `resume`. What arrives stays in the kernel, up to its own limit."""
        self._is_paused = True
        self._reader.stop()

    def resume(self) -> None:
        """Continue to read after a `pause`."""
        if self._is_paused:
            self._is_paused = False
            self._reader.start(self._on_readable)

    def end_sending(self) -> None:
        """Close the sending side. The client sees that no more bytes will follow."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket. This may be called only once."""
        self._reader.stop()
        self._reader.close()
        self._stop_writing()
        self._sock.close()

    def _stop_writing(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None
