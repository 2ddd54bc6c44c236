"""A response whose body is complete, and whose headers are ready for the server."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.http import HTTP_STATUS_CODES

from orderapi.web.response_headers import NO_SNIFFING, NOT_STORED

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_STATUS_LINES = {code: f"{code} {phrase.upper()}" for code, phrase in HTTP_STATUS_CODES.items()}


class WholeResponse:
    """A response that a view returns, and that the server calls as a WSGI application.

    `body` is bytes, or a text that is sent in UTF-8. Without a `media_type` there is no body.
    `cache` is the header that says whether caches may store the response. A response of Flask
    would take more processor time, because Flask makes an object of its own for the headers.
    """

    __slots__ = ("_body", "headers", "status")

    def __init__(
        self,
        body: str | bytes = b"",
        status: int = 200,
        media_type: str | None = "application/json",
        cache: tuple[str, str] = NOT_STORED,
    ) -> None:
        self.status = status
        self._body = body.encode() if isinstance(body, str) else body
        self.headers: list[tuple[str, str]] = [NO_SNIFFING, cache]
        if media_type is not None:
            self.headers.append(("Content-Type", media_type))
            self.headers.append(("Content-Length", str(len(self._body))))

    def add_header(self, name: str, value: str) -> None:
        """Add one header. `value` must contain only characters that a header may contain."""
        self.headers.append((name, value))

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Start the response, and return its body (PEP 3333)."""
        start_response(_STATUS_LINES[self.status], self.headers)
        return () if environ["REQUEST_METHOD"] == "HEAD" else (self._body,)
