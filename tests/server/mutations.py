"""Streams of the corpus with a few random changes."""

import random

from tests.server.corpus import AMBIGUOUS, BROKEN_CHUNKS, CLEAN

_STREAMS = list((CLEAN | AMBIGUOUS | BROKEN_CHUNKS).values())
# A mutation inserts one of these into a stream. Parsers often handle them wrongly.
_PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b";", b"=", b'"', b"\0", b"\xff", b"0", b"5",
    b"_", b"%", b"?", b"#", b"*", b"/", b"http://", b"GET", b"POST", b"HTTP/1.0", b"HTTP/1.1",
    b"HTTP/1.2", b"Content-Length: 59\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n",
    b"1\r\na\r\n", b"0\r\n\r\n", b"a" * 9000, b"X: 1\r\n" * 101,
]  # fmt: skip


def mutated(generator: random.Random) -> bytes:
    """Give a stream of the corpus with one to three changes."""
    stream = bytearray(generator.choice(_STREAMS))
    for _ in range(generator.randrange(1, 4)):
        start = generator.randrange(len(stream) + 1)
        end = min(len(stream), start + generator.randrange(12))
        change = generator.randrange(5)
        if change == 0:
            stream[start:end] = generator.choice(_PIECES)
        elif change == 1:
            stream[start:start] = generator.choice(_PIECES)
        elif change == 2:
            stream[start:end] = bytes([generator.randrange(256)])
        elif change == 3:
            stream[start:start] = stream[end : end + generator.randrange(40)]
        else:
            other = generator.choice(_STREAMS)
            stream[start:] = other[generator.randrange(len(other)) :]
    return bytes(stream)
