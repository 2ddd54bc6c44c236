"""What every request gets: an id, a deadline, and one line in the log."""

import logging
import re
import time
import uuid

from flask import Flask, Response, current_app, g, request

from orderapi import logs
from orderapi.store.contract import REQUEST_TIME_S

HEADER = "X-Request-ID"

_ACCEPTED = re.compile(r"[A-Za-z0-9._~:+/=-]{1,128}")
_PATH_MOST_CHARS = 256

_log = logging.getLogger("orderapi.request")


def register(app: Flask) -> None:
    """Give every request of `app`, refused ones too, its id and its line."""
    app.before_request(_begin)
    app.before_request(_answer_options)
    app.after_request(_end)


def deadline() -> float:
    """Tell until when this request may wait, as a time of `time.monotonic()` in seconds."""
    return float(g.arrived_at) + REQUEST_TIME_S


def note(**fields: str | bool) -> None:
    """Add fields to this request's line in the log."""
    g.noted.update(fields)


def _begin() -> None:
    g.arrived_at = time.monotonic()
    g.noted = {}
    sent = request.headers.get(HEADER, "")
    logs.request_id.set(sent if _ACCEPTED.fullmatch(sent) else str(uuid.uuid4()))


def _answer_options() -> Response | None:
    if request.method != "OPTIONS" or request.routing_exception is not None:
        return None
    response = current_app.make_default_options_response()
    response.status_code = 204
    return response


def _end(response: Response) -> Response:
    response.headers[HEADER] = logs.request_id.get() or ""
    _log.info(
        "request",
        extra={
            "method": request.method,
            "path": request.path[:_PATH_MOST_CHARS],
            "status": response.status_code,
            "duration_ms": round((time.monotonic() - g.arrived_at) * 1000, 2),
            **g.noted,
        },
    )
    return response
