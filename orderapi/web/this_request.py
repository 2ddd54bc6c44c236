"""Gives each request an id, a deadline and a line in the log, and counts the request."""

import os
import re
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from flask import Flask

from orderapi import logs, trace_context
from orderapi.auth import ANONYMOUS, Tokens
from orderapi.store.contract import REQUEST_TIME_S
from orderapi.telemetry import Telemetry

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.routing import Rule

HEADER = "X-Request-ID"
# A request may send an id of at most this length. A longer one is replaced with a new id.
REQUEST_ID_MAX_CHARS = 128
# The log shows at most this much of a path.
PATH_MAX_CHARS = 256

_ACCEPTED_ID = re.compile(rf"[A-Za-z0-9._~:+/=-]{{1,{REQUEST_ID_MAX_CHARS}}}")
# Under this key of the environ, the server stores when it received the last byte of the body, in
# seconds of `time.monotonic()`.
WHOLE_AT = "orderapi.whole_at"


class ThisRequest:
    """One request, from its arrival to its response. Times are those of `time.monotonic()`."""

    __slots__ = (
        "arrived_at",
        "caller",
        "environ",
        "id",
        "noted",
        "rule",
        "token",
        "traceparent",
        "whole_at",
    )

    def __init__(self, environ: "WSGIEnvironment") -> None:
        self.environ = environ
        self.arrived_at = time.monotonic()
        self.whole_at: float = environ.get(WHOLE_AT, self.arrived_at)
        self.id = choose_id(environ.get("HTTP_X_REQUEST_ID"))
        # The rule that matches the path and the method. None if there is no such rule.
        self.rule: Rule | None = None
        # The client that sends the request, and the token by which it was found.
        self.caller = ANONYMOUS
        self.token: tuple[Tokens, str] | None = None
        # The trace to which the request belongs (W3C Trace Context). None if it names no trace.
        self.traceparent = trace_context.parse_traceparent(environ.get("HTTP_TRACEPARENT"))
        # The fields of its line in the log that not every request has.
        self.noted: dict[str, str | bool | int | None] = {}
        if self.traceparent:
            self.noted["trace_id"] = trace_context.trace_id(self.traceparent)


_current: ContextVar[ThisRequest] = ContextVar("this_request")
# `current()` returns the request that is being handled.
current = _current.get


def register(app: Flask, telemetry: Telemetry) -> None:
    """Give each request of `app`, also a refused one, an id and a line in the log, and count it."""
    dispatch = app.wsgi_app

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        this = ThisRequest(environ)
        logs.request_id.set(this.id)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            headers.append((HEADER, this.id))
            _report(this, int(status[:3]), telemetry)
            return start_response(status, headers, *exc_info)

        token = _current.set(this)
        try:
            return dispatch(environ, start)
        finally:
            _current.reset(token)

    app.wsgi_app = answer  # type: ignore[method-assign]


def deadline() -> float:
    """Return until when this request may wait, in seconds of `time.monotonic()`.

    The time begins with the last byte of the body. So a slow upload leaves the store all its time.
    """
    return current().whole_at + REQUEST_TIME_S


def choose_id(sent: str | None) -> str:
    """Return the id that a request has sent, if it has the accepted form, or a new id."""
    return sent if sent and _ACCEPTED_ID.fullmatch(sent) else _new_id()


def _new_id() -> str:
    """Return a random UUID (RFC 9562 section 5.4).

    `str(uuid.uuid4())` does the same, but it takes three times as long.
    """
    digits = os.urandom(16).hex()
    # The version is 4, and the two highest bits of the next digit are the variant: 1 and 0.
    variant = "89ab"[int(digits[16], 16) & 0b11]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def note(**fields: str | bool | int | None) -> None:
    """Add fields to the line of this request in the log."""
    current().noted.update(fields)


def decoded_path(environ: "WSGIEnvironment") -> str:
    """Return the path of a request as text, with one slash at its beginning."""
    path: str = environ.get("PATH_INFO", "")
    if not path.isascii():
        path = path.encode("latin-1").decode(errors="replace")
    return "/" + path.lstrip("/")


def _report(this: ThisRequest, status: int, telemetry: Telemetry) -> None:
    environ = this.environ
    method = environ["REQUEST_METHOD"]
    duration_s = time.monotonic() - this.arrived_at
    telemetry.count_request(this.rule.rule if this.rule else None, method, status, duration_s)
    logs.log_request(
        {
            "address": environ.get("REMOTE_ADDR"),
            "method": method,
            "path": decoded_path(environ)[:PATH_MAX_CHARS],
            "status": status,
            "duration_ms": round(duration_s * 1000, 2),
            **this.noted,
        },
        this.id,
    )
