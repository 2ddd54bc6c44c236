"""The requests that a reader of HTTP finds in a stream, in a form that can be compared."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from gunicorn.config import Config
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create

from orderapi.server.head_grammar import RequestRefused
from orderapi.server.limits import FIELD_MAX_BYTES, REQUEST_LINE_MAX_BYTES
from orderapi.server.reader import RequestReader

BASE = {"REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000"}
# These keys of the environ describe the request. The other keys describe the server.
_KEYS = ("REQUEST_METHOD", "RAW_URI", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL")


@dataclass(frozen=True)
class Found:
    """The requests in a stream, in order, and how its reading ended."""

    requests: tuple[dict[str, Any], ...]
    # "whole" (no byte is left), "cut" (more bytes are needed), "refused" (the last request is not
    # valid), or "last" (the body of the last request cannot be read, so reading ends there).
    end: str
    # The reader's own text about why it refused the stream.
    why: str = field(default="", compare=False)

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The requests that were read to their end."""
        return [request for request in self.requests if request["body"] is not None]


def ours(*parts: bytes) -> Found:
    """Read a stream that arrives in these parts."""
    reader = RequestReader(dict(BASE))
    requests: list[dict[str, Any]] = []
    try:
        for part in parts:
            request = reader.feed(part)
            while request is not None:
                requests.append(_described(request.head.environ, request.body))
                if request.is_last:
                    return Found(tuple(requests), "last", getattr(request.body, "reason", ""))
                if not request.head.keeps_alive:
                    return Found(tuple(requests), "whole")
                request = reader.feed()
        cut = reader.end()
    except RequestRefused as refused:
        return Found(tuple(requests), "refused", str(refused))
    if cut is not None:
        return Found(tuple(requests), "cut")
    return Found(tuple(requests), "whole")


@cache
def _config() -> Config:
    """Give the settings with which gunicorn's own parser has the limits of this service."""
    cfg = Config()
    cfg.set("limit_request_line", REQUEST_LINE_MAX_BYTES)
    cfg.set("limit_request_field_size", FIELD_MAX_BYTES)
    cfg.set("forwarder_headers", "")
    cfg.set("secure_scheme_headers", {})
    return cfg


class _Sink:
    """A socket that discards what is sent on it."""

    def send(self, data: bytes) -> int:
        return len(data)


def gunicorns(stream: bytes) -> Found:
    """Read a stream with gunicorn's own parser, as its workers use it."""
    cfg = _config()
    unreader = IterUnreader(iter([stream]))
    requests: list[dict[str, Any]] = []
    while True:
        try:
            request = GunicornRequest(cfg, unreader, ("127.0.0.1", 1), len(requests) + 1)
            _, environ = create(request, _Sink(), ("127.0.0.1", 1), ("127.0.0.1", 8000), cfg)
        except StopIteration:
            return Found(tuple(requests), "whole")
        except Exception as error:
            end = "cut" if type(error).__name__ == "NoMoreData" else "refused"
            return Found(tuple(requests), end, type(error).__name__)
        announced = environ.get("CONTENT_LENGTH")
        found = _described(environ, request.body)
        requests.append(found)
        if found["body"] is None:
            return Found(tuple(requests), "last", getattr(request.body, "reason", ""))
        if announced is not None and len(found["body"]) < int(announced):
            return Found(tuple(requests[:-1]), "cut")
        if request.should_close():
            return Found(tuple(requests), "whole")


def _described(environ: dict[str, Any], body: Any) -> dict[str, Any]:
    """Describe a request; the body is None if it cannot be read."""
    described = {key: environ[key] for key in _KEYS}
    described |= {k: v for k, v in environ.items() if k.startswith(("HTTP_", "CONTENT_"))}
    try:
        described["body"] = body.read()
    except Exception:
        described["body"] = None
    return described
