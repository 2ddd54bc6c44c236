"""JSON logs: one object per line on stderr, with the request id on each line of a request."""

import _thread
import atexit
import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any

import orjson
from pythonjsonlogger.json import JsonEncoder, JsonFormatter

from orderapi.log_writer import LogWriter, Threads

# A context variable belongs to one thread, or to one greenlet.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_log = logging.getLogger(__name__)
_request_log = logging.getLogger("orderapi.request")

_SERVER_LOGGER = "gunicorn.error"
# The part of a message in which gunicorn quotes a malformed request. It may contain a secret.
_QUOTED = re.compile(
    r"(?<=^Invalid request from ip=)(\S* [A-Za-z /]*).*|(?<=idempotency[-_]key).*",
    re.IGNORECASE | re.DOTALL,
)
# `json` escapes this character, and orjson does not.
_DEL = b"\x7f"

_writer: LogWriter | None = None


def configure(level: str, threads: Threads = _thread) -> None:
    """Write log records, warnings and uncaught exceptions to stderr, as JSON lines.

    `level` is one of `settings.LOG_LEVELS`. `threads` makes native threads and locks. Under gevent,
    it has the unpatched functions of `_thread`. Lines are discarded if stderr is closed.
    """
    handler = _handler(threads)
    handler.setFormatter(_formatter)
    handler.addFilter(_add_common_fields)
    handler.addFilter(_redact_quoted_request)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # A record does not collect values that no line contains (logging HOWTO, "Optimization").
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


def log_request(fields: Mapping[str, object], request_id: str) -> None:
    """Log one line about a finished request.

    The line is the same that the logger `orderapi.request` would write with `fields` as its extra
    fields. No log record is made for it, because each request has such a line.
    """
    if not _request_log.isEnabledFor(logging.INFO):
        return
    if _writer is None:
        _request_log.info("request", extra=dict(fields))
        return
    line = _members("INFO", "orderapi.request", "request")
    line.update(fields)
    line["request_id"] = request_id
    _writer.write(_line_of(line) + b"\n")


def _handler(threads: Threads) -> logging.Handler:
    global _writer
    if sys.stderr is None:
        return logging.NullHandler()
    try:
        descriptor = sys.stderr.fileno()
    except io.UnsupportedOperation:  # a program has put an object in the place of stderr
        return logging.StreamHandler(sys.stderr)
    _writer = LogWriter(descriptor, _dropped_line, threads)
    atexit.register(_writer.drain)
    return _LineHandler(_writer)


class _LineHandler(logging.Handler):
    """Gives each formatted record to the writer."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Give one record to the writer, as a line."""
        try:
            self._writer.write(self.format(record).encode() + b"\n")
        except Exception:
            self.handleError(record)


def _serialize(line: Mapping[str, Any], **_options: object) -> str:
    return _line_of(line).decode()


def _line_of(line: Mapping[str, Any]) -> bytes:
    """Return a line as `json` writes it: in ASCII, with spaces after commas and colons.

    Operators search the log for texts such as `"level": "ERROR"`. orjson writes spaces only with
    indentation, so the indentation is replaced. Each line feed in the document belongs to the
    indentation, because line feeds in texts are escaped.
    """
    try:
        indented = orjson.dumps(line, option=orjson.OPT_INDENT_2)
    except TypeError:  # a value that orjson does not know, or a lone surrogate
        return _encode_in_ascii(line).encode()
    members = indented[len(b"{\n  ") : -len(b"\n}")].replace(b",\n  ", b", ")
    if not members.isascii() or _DEL in members or b"\n" in members:
        return _encode_in_ascii(line).encode()
    return b"{" + members + b"}"


# This encoder is made once. `json.dumps` with arguments would make a new one for every line.
_encode_in_ascii = JsonEncoder(ensure_ascii=True).encode
_formatter = JsonFormatter(
    "{levelname}{name}{process}{message}{time}",
    style="{",
    rename_fields={"levelname": "level", "name": "logger"},
    json_serializer=_serialize,
)


def _members(level: str, logger: str, message: str) -> dict[str, object]:
    """Return the members with which every line begins."""
    return {
        "level": level,
        "logger": logger,
        "process": os.getpid(),
        "message": message,
        "time": _now_text(),
    }


def _dropped_line(count: int) -> bytes:
    message = "log lines were dropped because they could not be written"
    return _line_of({**_members("WARNING", __name__, message), "dropped": count}) + b"\n"


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _now_text() -> str:
    second, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second_text(second)}.{microseconds:06d}+00:00"


@lru_cache(maxsize=2)  # a busy second has thousands of lines
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _add_common_fields(record: logging.LogRecord) -> bool:
    record.time = _timestamp(record.created)
    current = request_id.get()
    if current is not None:
        record.request_id = current
    return True


def _redact_quoted_request(record: logging.LogRecord) -> bool:
    if record.name == _SERVER_LOGGER:
        message = _QUOTED.sub(lambda found: (found[1] or "") + "...", record.getMessage())
        record.msg, record.args = message, None
    return True


def _log_uncaught(
    exc_type: type[BaseException], exc: BaseException | None, traceback: TracebackType | None
) -> None:
    if exc is None:
        exc = exc_type()
    _log.critical("uncaught exception", exc_info=(exc_type, exc, traceback))
