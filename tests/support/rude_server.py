"""A server that breaks the rules of HTTP."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def socket_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept one connection, read the beginning of a request, and call `talk` with the socket."""
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        # A second connection is refused at once.
        listener.close()
        with connection:
            connection.recv(65536)
            try:
                talk(connection)
            except OSError:
                return
            done.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()
