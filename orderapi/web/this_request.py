"""What every request gets: an id, a deadline, its body's rest read, a line in the log, a count."""

import re
import time
import uuid
from contextlib import suppress
from functools import partial
from typing import IO

from flask import Flask, Response, current_app, g
from werkzeug.exceptions import NotFound

from orderapi import logs
from orderapi.store.contract import REQUEST_TIME_S
from orderapi.telemetry import Telemetry
from orderapi.web.lean import current_request

HEADER = "X-Request-ID"

_ACCEPTED = re.compile(r"[A-Za-z0-9._~:+/=-]{1,128}")
_PATH_MOST_CHARS = 256
# More than any mistake will send; somebody who sends more is cut off.
_DISCARDED_MOST_BYTES = 1024 * 1024


def register(app: Flask, telemetry: Telemetry) -> None:
    """Give every request of `app`, refused ones too, its id, its line and its count."""
    app.before_request(_begin)
    app.after_request(partial(_end, telemetry))


def deadline() -> float:
    """Tell until when this request may wait, as a time of `time.monotonic()` in seconds."""
    return float(g.whole_at) + REQUEST_TIME_S


def note_arrival() -> None:
    """Note that it is here whole: what a slow client's body took is not the store's time."""
    g.whole_at = time.monotonic()


def note(**fields: str | bool | int | None) -> None:
    """Add fields to this request's line in the log."""
    g.noted.update(fields)


def _begin() -> Response | None:
    g.arrived_at = g.whole_at = time.monotonic()
    g.noted = {}
    incoming = current_request()
    sent = incoming.environ.get("HTTP_X_REQUEST_ID", "")
    logs.request_id.set(sent if _ACCEPTED.fullmatch(sent) else str(uuid.uuid4()))
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
    response.call_on_close(partial(_read_on, incoming.environ["wsgi.input"]))
    logs.log_request(
        {
            "address": incoming.remote_addr,
            "method": incoming.method,
            "path": incoming.path[:_PATH_MOST_CHARS],
            "status": response.status_code,
            "duration_ms": round(duration_s * 1000, 2),
            **g.noted,
        },
        response.headers[HEADER],
    )
    return response


def _read_on(body: IO[bytes]) -> None:
    """Read what is left of the body once the answer is out.

    A client that sends all before it reads would lose the answer to a connection reset, and
    broken chunks would get a second answer, from the server.
    """
    # Each server has its own errors; the answer is out, and the connection will be closed.
    with suppress(Exception):
        body.read(_DISCARDED_MOST_BYTES)
