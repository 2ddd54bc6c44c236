"""JSON logs: one object a line on stderr, with the request id on every line of a request."""

import logging
import re
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType

from pythonjsonlogger.json import JsonEncoder, JsonFormatter

# A contextvar belongs to one thread, or one greenlet.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_log = logging.getLogger(__name__)

_SERVER_LOGGER = "gunicorn.error"
# What it repeats of a request that is not HTTP may be a header, and so a secret.
_REPEATED = re.compile(
    r"(?<=^Invalid request from ip=)(\S* [A-Za-z /]*).*|(?<=idempotency[-_]key).*",
    re.IGNORECASE | re.DOTALL,
)


def configure(level: str) -> None:
    """Send everything that Python logs, warns of or dies of to stderr, as JSON lines.

    `level` is one of `settings.LOG_LEVELS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter())
    handler.addFilter(_add_what_every_line_has)
    handler.addFilter(_cut_what_it_repeats)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What no line of ours shows is not looked up (logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001 - the documented switch
    logging.logThreads = logging.logMultiprocessing = False
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value, args.exc_traceback
    )
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def _formatter() -> JsonFormatter:
    # ASCII only: no terminal, viewer or collector sees a line break that we did not write. The
    # encoder is made once, where json.dumps would make one for every line.
    encode = JsonEncoder(ensure_ascii=True).encode
    return JsonFormatter(
        "{levelname}{name}{process}{message}{time}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        json_serializer=lambda line, **_: encode(line),
    )


def _add_what_every_line_has(record: logging.LogRecord) -> bool:
    at = datetime.fromtimestamp(record.created, UTC)
    record.time = at.isoformat(timespec="microseconds")
    current = request_id.get()
    if current is not None:
        record.request_id = current
    return True


def _cut_what_it_repeats(record: logging.LogRecord) -> bool:
    if record.name == _SERVER_LOGGER:
        message = _REPEATED.sub(lambda found: (found[1] or "") + "...", record.getMessage())
        record.msg, record.args = message, None
    return True


def _log_uncaught(
    exc_type: type[BaseException], exc: BaseException | None, traceback: TracebackType | None
) -> None:
    if exc is None:
        exc = exc_type()
    _log.critical("uncaught exception", exc_info=(exc_type, exc, traceback))
