"""A proxy between a client and a server that simulates the faults of a network."""

import enum
import random
import re
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase

from tests.support.running import Server

DELAY_S = 0.05
BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n"
    b"<h1>Bad gateway</h1>"
)


class Fault(enum.Enum):
    """What happens to one request."""

    NONE = "none"
    DROPPED_BEFORE = "dropped before the server"
    CUT_REQUEST = "cut on the way to the server"
    DROPPED_UNREAD = "dropped once sent"
    DROPPED_AFTER = "answer dropped"
    DELAYED = "delayed"
    LATE = "executed after the client gave up"
    DUPLICATED = "sent twice at once"
    CUT_ANSWER = "answer cut"
    SHORTENED = "answer shortened, with a Content-Length that fits"
    BAD_GATEWAY = "answer replaced by a 502"


class ChaosProxy:
    """Applies the fault that `choose()` gives to each request, and counts the faults.

    `late_s` is a delay in seconds that is longer than the client waits for an answer.
    """

    def __init__(
        self, server: Server, choose: Callable[[], Fault], late_s: float, chance: random.Random
    ) -> None:
        self.server = server
        self.choose = choose
        self.late_s = late_s
        self.chance = chance
        self.counts: Counter[Fault] = Counter()
        self.requests: list[bytes] = []
        self.url = ""
        self._lock = threading.Lock()

    def pass_on(self, request: bytes) -> tuple[bytes, bool]:
        """Give the bytes that the client receives, and whether its connection stays open."""
        with self._lock:
            fault = self.choose()
            self.counts[fault] += 1
            self.requests.append(request)
            share = self.chance.random()
        match fault:
            case Fault.DROPPED_BEFORE:
                return b"", False
            case Fault.CUT_REQUEST:
                self._send(request[: int(len(request) * share)])
                return b"", False
            case Fault.DROPPED_UNREAD:
                self._send(request)
                return b"", False
        return _spoiled(self._executed(request, fault), fault, share)

    def _executed(self, request: bytes, fault: Fault) -> bytes:
        match fault:
            case Fault.DELAYED:
                time.sleep(DELAY_S)
            case Fault.LATE:
                time.sleep(self.late_s)
            case Fault.DUPLICATED:
                twin = threading.Thread(target=self._exchange, args=(request,))
                twin.start()
                answer = self._exchange(request)
                twin.join()
                return answer
        return self._exchange(request)

    def _send(self, data: bytes) -> None:
        with suppress(OSError), self._connection() as connection:
            connection.sendall(data)

    def _exchange(self, request: bytes) -> bytes:
        """Give the answer, or its first part if the server dies."""
        answer = b""
        with suppress(OSError), self._connection() as connection:
            connection.sendall(_closing(request))
            while chunk := connection.recv(65536):
                answer += chunk
        return re.sub(rb"(?i)connection: close\r\n", b"", answer, count=1)

    def _connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=30)


@contextmanager
def chaos(
    server: Server,
    choose: Callable[[], Fault],
    *,
    late_s: float = 1.5,
    chance: random.Random | None = None,
) -> Iterator[ChaosProxy]:
    """Run a proxy in front of a server until the block ends. Then no request is in flight."""
    proxy = ChaosProxy(server, choose, late_s, chance or random.Random(1))

    class Handler(socketserver.StreamRequestHandler):
        timeout = 60

        def handle(self) -> None:
            with suppress(OSError):
                while request := _read_request(self.rfile):
                    answer, is_kept = proxy.pass_on(request)
                    self.connection.sendall(answer)
                    if not is_kept:
                        self._reset_every_other_time()
                        break

        def _reset_every_other_time(self) -> None:
            """Make the following close a reset, with a probability of one half."""
            if proxy.chance.random() < 0.5:
                no_lingering = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)

    class Listener(socketserver.ThreadingTCPServer):
        request_queue_size = 128
        allow_reuse_address = True

    with Listener(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        proxy.url = f"http://127.0.0.1:{listener.server_address[1]}"
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()


def _read_request(stream: BufferedIOBase) -> bytes:
    """Read a request with its body. It is empty if the client has closed the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return head + (stream.read(int(length[1])) if length else b"")


def _closing(request: bytes) -> bytes:
    """Ask the server to close after its answer, so that the end of the answer is known."""
    head, end, body = request.partition(b"\r\n\r\n")
    kept = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
    return kept + b"\r\nConnection: close" + end + body


def _spoiled(answer: bytes, fault: Fault, share: float) -> tuple[bytes, bool]:
    match fault:
        case Fault.DROPPED_AFTER:
            return b"", False
        case Fault.CUT_ANSWER:
            return answer[: int(len(answer) * share)], False
        case Fault.SHORTENED:
            return _shortened(answer), bool(answer)
        case Fault.BAD_GATEWAY:
            return BAD_GATEWAY, True
    # The answer is empty if the server died. The connection is then closed too.
    return answer, bool(answer)


def _shortened(answer: bytes) -> bytes:
    """Give half of the body as a complete answer. A client notices this only when it parses it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    half = body[: len(body) // 2]
    length = b"Content-Length: %d" % len(half)
    return re.sub(rb"(?i)content-length: *\d+", length, head) + b"\r\n\r\n" + half
