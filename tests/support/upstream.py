"""A service behind a site that fails as its script says, and records the requests of nginx."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CLOSE, HALF_A_HEAD, HALF_A_BODY, SILENCE = "close", "half a head", "half a body", "silence"


@dataclass(frozen=True)
class Received:
    """A received request: its first line, its header fields in order, and its body."""

    line: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for field_name, value in self.fields if field_name.lower() == name.lower()]


@dataclass
class Upstream:
    """Answers as in its script, which has one entry per request: a fault, or a status."""

    script: list[str | int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    # If there is a barrier, requests wait for each other at it before they are answered.
    together: threading.Barrier | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        reader = connection.makefile("rb")
        while line := reader.readline():
            fields = []
            while (header := reader.readline().decode("latin-1").strip()) != "":
                name, _, value = header.partition(":")
                fields.append((name, value.strip()))
            length = int(dict(fields).get("Content-Length", "0"))
            request = Received(line.decode().strip(), tuple(fields), reader.read(length))
            self.received.append(request)
            act = self.script.pop(0)
            if self.together is not None:
                self.together.wait(20)
            if isinstance(act, str):
                self._fail(connection, act)
                return
            connection.sendall(b"HTTP/1.1 %d Any\r\nContent-Length: 2\r\n\r\nok" % act)

    def _fail(self, connection: socket.socket, act: str) -> None:
        if act == HALF_A_HEAD:
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-")
        elif act == HALF_A_BODY:
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 20\r\n\r\nten bytes.")
        elif act == SILENCE:
            self.stopping.wait()


@contextmanager
def listening(path: Path) -> Iterator[Upstream]:
    """Serve at a unix socket that every user may open."""
    upstream = Upstream()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            upstream.serve(self.request)

    class Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        # nginx gets an error at once when the queue of a unix socket is full.
        request_queue_size = 512

    with Listener(str(path), Handler) as listener:
        path.chmod(0o777)
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield upstream
        finally:
            upstream.stopping.set()
            listener.shutdown()
            thread.join()
            path.unlink()
