"""Flask without what this service has no use for: each of these was seen in a profile."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response, request
from werkzeug.datastructures import Headers
from werkzeug.routing import MapAdapter

_NO_HOST = ""


class LeanFlask(Flask):
    """Flask for one host, whose views are all plain functions."""

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match by path and method alone: which host was asked for makes no difference here."""
        if request is None:
            return None
        return MapAdapter(
            self.url_map, _NO_HOST, "/", "", request.scheme, request.path, request.method
        )

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Give a view or a hook as it is: none is a coroutine."""
        return func


class Answer(Response):
    """A whole answer: a body that is there, and headers that are final when it leaves.

    `body` is text, or its UTF-8; its length is announced.
    """

    def __init__(
        self, body: str | bytes, status: int = 200, media_type: str = "application/json"
    ) -> None:
        super().__init__(body, status, content_type=media_type)

    def get_wsgi_headers(self, environ: Any) -> Headers:  # noqa: ARG002 - werkzeug's signature
        """Give the headers: `Location` is a path of ours, and needs no host and no quoting."""
        return self.headers


def current_request() -> Request:
    """Give the request itself; Flask's proxy would look for it at every attribute."""
    proxy: Any = request
    itself: Request = proxy._get_current_object()  # noqa: SLF001 - documented for this use
    return itself
