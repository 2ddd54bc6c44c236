"""What every request gets: an id, a deadline, a line in the log, and a count."""

import re
import time
import uuid
from functools import partial

from flask import Flask, Response, current_app, g
from werkzeug.exceptions import NotFound

from orderapi import logs, trace_context
from orderapi.store.contract import REQUEST_TIME_S
from orderapi.telemetry import Telemetry
from orderapi.web.lean import current_request

HEADER = "X-Request-ID"

_ACCEPTED = re.compile(r"[A-Za-z0-9._~:+/=-]{1,128}")
PATH_MAX_CHARS = 256


def register(app: Flask, telemetry: Telemetry) -> None:
    """Give every request of `app`, refused ones too, its id, its line and its count."""
    app.before_request(_begin)
    app.after_request(partial(_end, telemetry))


def deadline() -> float:
    """Tell until when this request may wait, as a time of `time.monotonic()` in seconds.

    The time counts from the last byte of the body, which the server notes in the environ: what a
    slow client's upload took is not the store's time.
    """
    return float(g.whole_at) + REQUEST_TIME_S


def choose_id(sent: str) -> str:
    """Give the id that a request sent, if that is of the accepted form, or a new one."""
    return sent if _ACCEPTED.fullmatch(sent) else str(uuid.uuid4())


def traceparent() -> str | None:
    """Return the trace of this request (W3C Trace Context); None if it names none."""
    found: str | None = g.traceparent
    return found


def note(**fields: str | bool | int | None) -> None:
    """Add fields to this request's line in the log."""
    g.noted.update(fields)


def _begin() -> Response | None:
    g.arrived_at = time.monotonic()
    incoming = current_request()
    g.whole_at = incoming.environ.get("orderapi.whole_at", g.arrived_at)
    g.traceparent = trace_context.parse_traceparent(incoming.environ.get("HTTP_TRACEPARENT"))
    g.noted = {"trace_id": trace_context.trace_id(g.traceparent)} if g.traceparent else {}
    logs.request_id.set(choose_id(incoming.environ.get("HTTP_X_REQUEST_ID", "")))
    # Werkzeug drops all slashes but one from a path's beginning.
    if incoming.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound
    if incoming.method == "OPTIONS" and incoming.routing_exception is None:
        return _answer_options()
    return None


def _answer_options() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]
    allowed = current_app.make_default_options_response().headers["Allow"]
    response.headers["Allow"] = ", ".join(sorted(allowed.split(", ")))
    return response


def _end(telemetry: Telemetry, response: Response) -> Response:
    incoming = current_request()
    duration_s = time.monotonic() - g.arrived_at
    route = incoming.url_rule.rule if incoming.url_rule else None
    telemetry.count_request(route, incoming.method, response.status_code, duration_s)
    response.headers[HEADER] = logs.request_id.get() or ""
    logs.log_request(
        {
            "address": incoming.remote_addr,
            "method": incoming.method,
            "path": incoming.path[:PATH_MAX_CHARS],
            "status": response.status_code,
            "duration_ms": round(duration_s * 1000, 2),
            **g.noted,
        },
        response.headers[HEADER],
    )
    return response
