"""Many readers of the feed at once, on real connections, in one thread."""

import json
import resource
import selectors
import socket
import threading
import time
from contextlib import suppress

from tests.support.running import Server
from tests.support.waiting import awake_s, wait_until

_HEAD_END = b"\r\n\r\n"
# A reader that may not wait gets an empty answer at once. It pauses before its next request.
_PAUSE_S = 0.05


class Reader:
    """A reader that polls for events after its last one, and notes every wrong answer."""

    def __init__(self, port: int, limit: int) -> None:
        self.port = port
        self.limit = limit
        self.after = 0
        self.answers = 0
        self.surprises: list[str] = []
        self.connection: socket.socket | None = None
        self.asks_again_at = 0.0
        self._received = b""

    def ask(self) -> None:
        """Ask for the next events, on a new connection if the last one has ended."""
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            self.connection.setblocking(False)
        self._received = b""
        query = f"after={self.after}&limit={self.limit}&wait=30"
        self.connection.sendall(f"GET /events?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def take(self) -> bool:
        """Receive a part of the answer. Tells whether the answer is now complete.

        Raises OSError if the connection has ended.
        """
        assert self.connection is not None
        received = self.connection.recv(1024 * 1024)
        if not received:
            raise ConnectionError("ended")
        self._received += received
        head, end, body = self._received.partition(_HEAD_END)
        if not end or len(body) < _content_length(head):
            return False
        self._check(head, body)
        return True

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _check(self, head: bytes, body: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200 "):
            self.surprises.append(f"{head!r} {body!r}")
            return
        page = json.loads(body)
        seen = [int(event["sequence"]) for event in page["events"]]
        # With one client in the store, that client's numbers have no gaps.
        if seen != list(range(self.after + 1, self.after + 1 + len(seen))):
            self.surprises.append(f"after {self.after}: {seen}")
        if page["next"] != (seen[-1] if seen else self.after):
            self.surprises.append(f"after {self.after}: {seen}, next is {page['next']}")
        if not seen:
            self.asks_again_at = time.monotonic() + _PAUSE_S
        self.after = page["next"]
        self.answers += 1


class Readers:
    """`count` readers that poll until they are stopped."""

    def __init__(self, server: Server, count: int, limit: int = 1000) -> None:
        _allow_descriptors(count + 200)
        self.readers = [Reader(server.port, limit) for _ in range(count)]
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def surprises(self) -> list[str]:
        return [surprise for reader in self.readers for surprise in reader.surprises]

    @property
    def answers(self) -> int:
        return sum(reader.answers for reader in self.readers)

    def wait_until_all_ask(self, timeout_s: float = 60) -> None:
        """Wait until each reader has a connection and has sent its request."""
        wait_until(
            lambda: all(reader.connection is not None for reader in self.readers),
            timeout_s=timeout_s,
        )

    def wait_until_all_have(self, sequence: int, timeout_s: float = 60) -> None:
        """Wait until each reader has received every event up to this number."""
        give_up_at = awake_s() + timeout_s
        while any(reader.after < sequence for reader in self.readers):
            assert self.surprises == [], self.surprises[:3]
            assert awake_s() < give_up_at, sorted(reader.after for reader in self.readers)
            time.sleep(0.02)

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with selectors.DefaultSelector() as arrivals:
            asking = set(self.readers)
            while not self._is_over.is_set():
                for reader in [r for r in asking if time.monotonic() >= r.asks_again_at]:
                    asking.discard(reader)
                    if not self._asks(reader, arrivals):
                        asking.add(reader)
                for key, _ in arrivals.select(0.02):
                    if self._has_answer(key.data, arrivals):
                        asking.add(key.data)
        for reader in self.readers:
            reader.close()

    def _asks(self, reader: Reader, arrivals: selectors.BaseSelector) -> bool:
        is_new = reader.connection is None
        try:
            reader.ask()
        except OSError:
            self._part(reader, arrivals)
            return False
        if is_new:
            assert reader.connection is not None
            arrivals.register(reader.connection, selectors.EVENT_READ, reader)
        return True

    def _has_answer(self, reader: Reader, arrivals: selectors.BaseSelector) -> bool:
        try:
            return reader.take()
        except BlockingIOError:
            return False
        except OSError:
            self._part(reader, arrivals)
            return True

    def _part(self, reader: Reader, arrivals: selectors.BaseSelector) -> None:
        """Close a broken connection. The reader then asks for the same events on a new one."""
        with suppress(KeyError, ValueError):
            if reader.connection is not None:
                arrivals.unregister(reader.connection)
        reader.close()
        reader.asks_again_at = time.monotonic() + _PAUSE_S


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise AssertionError(head)


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
