"""A proxy between a client and a server over TCP. It delays, keeps silent and cuts connections."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK_BYTES = 262_144
_PAUSE_S = 0.01
_CONNECTING_MAX_S = 5.0


class TcpProxy:
    """Passes bytes on between its clients and one server, whose protocol it does not know.

    `delay_s` is how many seconds each message waits in each direction. `silent` says that nothing
    is passed on, while connections stay open and new ones are accepted, as behind a firewall that
    discards packets. `port` is where the proxy listens.
    """

    def __init__(self, host: str, port: int, delay_s: float = 0.0) -> None:
        self.address = (host, port)
        self.delay_s = delay_s
        self.silent = False
        self.port = 0
        # How many answers and requests the proxy has lost so far.
        self.lost = 0
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._answer_to_lose: bytes | None = None
        self._request_to_lose: bytes | None = None

    def lose_answer(self, to: bytes) -> None:
        """Lose the answer to the next request that contains `to`: the server executes it once.

        The connection ends as soon as the server has begun to answer.
        """
        self._answer_to_lose = to

    def lose_request(self, with_bytes: bytes) -> None:
        """Lose the next request that contains these bytes: the server never sees it."""
        self._request_to_lose = with_bytes

    def cut(self) -> None:
        """End every connection on both sides."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.end()

    def connections(self) -> int:
        """Give how many connections pass through the proxy now."""
        return len(self._links)

    def run(self, client: socket.socket) -> None:
        """Pass bytes on between a client and the server, until one of them has closed."""
        with suppress(OSError), socket.create_connection(self.address, _CONNECTING_MAX_S) as server:
            server.settimeout(None)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(client, server)
            with self._lock:
                self._links.add(link)
            back = threading.Thread(target=self._answers, args=(link,), daemon=True)
            back.start()
            try:
                self._requests(link)
            finally:
                link.end()
                back.join()
                with self._lock:
                    self._links.discard(link)

    def _requests(self, link: "_Link") -> None:
        while data := link.receive(link.client):
            if self._request_to_lose is not None and self._request_to_lose in data:
                self._request_to_lose = None
                self.lost += 1
                link.end()
                return
            if self._answer_to_lose is not None and self._answer_to_lose in data:
                self._answer_to_lose = None
                link.loses_answer = True
            if not self._passed_on(link, link.server, data):
                return
        link.end()

    def _answers(self, link: "_Link") -> None:
        while data := link.receive(link.server):
            if link.loses_answer:
                self.lost += 1
                link.end()
                return
            if not self._passed_on(link, link.client, data):
                return
        link.end()

    def _passed_on(self, link: "_Link", to: socket.socket, data: bytes) -> bool:
        if self.delay_s:
            time.sleep(self.delay_s)
        while self.silent and not link.is_over:
            time.sleep(_PAUSE_S)
        try:
            to.sendall(data)
        except OSError:
            return False
        return True


class _Link:
    """The two sockets of one connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.loses_answer = False
        self.is_over = False

    def receive(self, side: socket.socket) -> bytes:
        """Give the next bytes. There are none if the connection is over."""
        with suppress(OSError):
            return side.recv(_CHUNK_BYTES)
        return b""

    def end(self) -> None:
        """End both sides."""
        self.is_over = True
        for side in (self.client, self.server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(host: str, port: int, delay_s: float = 0.0) -> Iterator[TcpProxy]:
    """Run a proxy in front of a server, on a port of its own, until the block ends."""
    proxy = TcpProxy(host, port, delay_s)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            proxy.run(self.request)

    class Listener(socketserver.ThreadingTCPServer):
        request_queue_size = 128
        daemon_threads = True
        block_on_close = False

    with Listener(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        proxy.port = listener.server_address[1]
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()
            proxy.cut()
