"""Send streams of bytes to a server, and check that each request in them is answered once."""

import random
import socket
import time
from contextlib import suppress

from tests.server.corpus import CLEAN
from tests.server.mutations import mutated
from tests.server.reading import ours

_CLEAN = list(CLEAN.values())
PIECES_MAX = 6
SILENCE_MAX_S = 20.0


def random_stream(generator: random.Random) -> bytes:
    """Give some valid streams. In most cases, a mutated one follows them."""
    streams = generator.choices(_CLEAN, k=generator.randrange(4))
    if not streams or generator.random() < 0.7:
        streams.append(mutated(generator))
    return b"".join(streams)


def play(port: int, stream: bytes, generator: random.Random) -> bytes:
    """Send a stream in pieces, end the sending side, and give all that comes back."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SILENCE_MAX_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cuts = sorted(generator.choices(range(len(stream)), k=generator.randrange(PIECES_MAX)))
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            # A server that has refused the beginning may have closed the connection.
            with suppress(ConnectionError):
                connection.sendall(stream[start:end])
            if generator.random() < 0.1:
                time.sleep(0.001)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while data := connection.recv(65_536):
                received += data
    return received


def check(stream: bytes, received: bytes) -> int:
    """Assert that each request in a stream got one complete answer. Gives the number of answers."""
    found = ours(stream)
    methods = [request["REQUEST_METHOD"] for request in found.requests]
    if found.end in ("refused", "cut"):
        methods.append("GET")
    rest = received
    for method in methods:
        status, rest = _after_answer(rest, method)
        assert 200 <= status < 500, (stream, received)
    assert rest == b"", (stream, received)
    return len(methods)


def _after_answer(received: bytes, method: str) -> tuple[int, bytes]:
    """Give the status of the first final answer, and what follows the answer."""
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1."), received
        assert end, received
        status = int(head.split(b" ")[1])
        if status != 100:
            break
        received = rest
    if method == "HEAD" or status == 204:
        return status, rest
    length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    assert len(rest) >= length, received
    return status, rest[length:]
