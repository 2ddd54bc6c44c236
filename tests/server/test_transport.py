"""The transport sends the rest of an answer later if its client does not read it at once."""

import socket
from collections.abc import Iterator

import gevent
import pytest
from gevent import get_hub

from orderapi.server.transport import Transport

ANSWER = bytes(range(256)) * 4096


class Sides:
    """A transport whose send buffer is small, and the socket of its client."""

    def __init__(self) -> None:
        ours, self.client = socket.socketpair()
        for side in (ours, self.client):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            side.setblocking(False)
        self.received = b""
        self.sent_calls = 0
        self.transport = Transport(get_hub().loop, ours, self._read, self._sent)

    def _read(self) -> None:
        self.received += self.transport.receive() or b""

    def _sent(self) -> None:
        self.sent_calls += 1

    def read_by_client(self, size: int) -> bytes:
        """Let the client read `size` bytes, while the loop sends more."""
        read = b""
        while len(read) < size:
            try:
                read += self.client.recv(size - len(read))
            except BlockingIOError:
                gevent.sleep(0.001)
        return read


@pytest.fixture
def sides() -> Iterator[Sides]:
    made = Sides()
    yield made
    made.transport.close()
    made.client.close()


def test_the_rest_of_an_answer_is_sent_as_its_client_reads(sides: Sides) -> None:
    assert not sides.transport.send(ANSWER)
    assert not sides.transport.send(b"and more")
    assert sides.read_by_client(len(ANSWER) + 8) == ANSWER + b"and more"
    gevent.sleep(0.01)
    assert not sides.transport.has_unsent
    assert sides.sent_calls > 1
    assert sides.transport.send(b"whole")
    assert sides.read_by_client(5) == b"whole"


def test_after_a_client_has_closed_in_the_middle_of_an_answer_nothing_more_is_sent(
    sides: Sides,
) -> None:
    assert not sides.transport.send(ANSWER)
    sides.client.close()
    gevent.sleep(0.01)
    assert not sides.transport.has_unsent
    with pytest.raises(OSError, match="Broken pipe"):
        sides.transport.send(b"more")


def test_a_paused_transport_reads_again_when_it_is_resumed(sides: Sides) -> None:
    sides.transport.pause()
    sides.client.send(b"early")
    gevent.sleep(0.01)
    assert sides.received == b""
    sides.transport.resume()
    gevent.sleep(0.01)
    assert sides.received == b"early"
