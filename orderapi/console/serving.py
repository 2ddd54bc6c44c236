"""Serves the console on the loopback address only, until Ctrl-C.

The server of werkzeug is enough for a few operators. It has one thread per connection, and it needs
no settings. gunicorn would need processes and settings that belong to the service.
"""

import signal
import socket
from typing import Any

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from orderapi.errors import StartRefused

LOOPBACK = "127.0.0.1"
# A browser keeps connections open. The server closes a connection that is idle for this long.
IDLE_MAX_S = 30


class _Handler(WSGIRequestHandler):
    """A request handler that logs nothing, because the URLs contain keys and customers."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_MAX_S
    server_version = "orderapi-console"
    sys_version = ""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """See `WSGIRequestHandler`."""


def listen(port: int) -> socket.socket:
    """Listen on a port of the loopback address. The port 0 means any free one.

    Raises StartRefused if the port cannot be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"cannot listen on {LOOPBACK}:{port}: {error.strerror}; choose another port with --port"
        ) from error
    return listener


def serve(app: Flask, listener: socket.socket) -> None:
    """Serve `app` until SIGINT or SIGTERM, then close the listener."""
    server = make_server(
        LOOPBACK,
        listener.getsockname()[1],
        app,
        threaded=True,
        request_handler=_Handler,
        fd=listener.fileno(),
    )
    listener.close()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # This returns after a KeyboardInterrupt, which both signals raise.
    server.serve_forever()
