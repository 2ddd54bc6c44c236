"""Takes a client's address and scheme from the proxy, but only behind a unix socket."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def register(app: Flask) -> None:
    """Make `app` read the client's address from `X-Forwarded-For` behind a unix socket.

    The peer of a unix socket has no address. Only the proxy may open that socket, and the proxy
    replaces the header of the client with its own. Over TCP, any client could send the header, so
    it is ignored there. (`werkzeug.middleware.proxy_fix` does more. It would take 17 microseconds
    of CPU per request, a tenth of the whole request.)
    """
    direct = app.wsgi_app

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if not environ.get("REMOTE_ADDR"):
            _set_client(environ)
        return direct(environ, start_response)

    app.wsgi_app = answer  # type: ignore[method-assign]


def _set_client(environ: "WSGIEnvironment") -> None:
    """Set the address and the scheme to the last ones, which the nearest proxy has appended."""
    for header, variable in (
        ("HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"),
        ("HTTP_X_FORWARDED_PROTO", "wsgi.url_scheme"),
    ):
        last = environ.get(header, "").rpartition(",")[2].strip()
        if last:
            environ[variable] = last
