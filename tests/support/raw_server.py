"""A server that sends the bytes that a test chooses, whatever the request is."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class RawServer:
    """Sends the bytes in `answers` to the requests of these numbers, and `answer` to all others."""

    url: str
    answer: bytes = b""
    answers: dict[int, bytes] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def raw_server() -> Iterator[RawServer]:
    """Serve one request on each connection, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        stopped = threading.Event()

        def serve() -> None:
            while not stopped.is_set():
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    request = read_request(connection)
                    if request:
                        server.requests.append(request)
                        connection.sendall(server.answers.get(len(server.requests), server.answer))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            stopped.set()
            socket.create_connection(listener.getsockname()[:2]).close()
            thread.join()


def read_request(connection: socket.socket) -> bytes:
    """Return a whole request with its body. It is empty if the connection ends before."""
    received = b""
    while b"\r\n\r\n" not in received or not is_whole(received):
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk
    return received


def is_whole(request: bytes) -> bool:
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: (\d+)", head)
    return len(body) >= (int(length[1]) if length else 0)


def http(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    """Return the bytes of an answer after which the connection ends."""
    lines = [b"HTTP/1.1 %d Said" % status, b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"", body])
