"""The proxy in front: what it says about a client is trusted only over a unix socket."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def register(app: Flask) -> None:
    """Make `app` take the addresses of its clients from the `X-Forwarded-For` of the proxy.

    The peer of a unix socket has no address. Only the proxy may open that socket, and the proxy
    replaces the header of the client with its own. Over TCP, any client could send the header, so
    there it is ignored.
    """
    direct = app.wsgi_app
    proxied = ProxyFix(direct, x_for=1, x_proto=1)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        has_address = environ.get("REMOTE_ADDR")
        return (direct if has_address else proxied)(environ, start_response)

    app.wsgi_app = answer  # type: ignore[method-assign]
