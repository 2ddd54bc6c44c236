"""The proxy in front: what it says of a client is believed over a unix socket, and there alone."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def register(app: Flask) -> None:
    """Let `app` know its clients' addresses from the `X-Forwarded-For` of its proxy.

    A unix socket's peer has no address; only the proxy may open the socket, and it writes that
    header anew. Over TCP anybody could send it, so there it means nothing.
    """
    direct = app.wsgi_app
    proxied = ProxyFix(direct, x_for=1, x_proto=1)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        has_address = environ.get("REMOTE_ADDR")
        return (direct if has_address else proxied)(environ, start_response)

    app.wsgi_app = answer  # type: ignore[method-assign]
