"""Reads the head of a request: it checks a strict grammar, runs httptools, and finds the framing.

The grammar is in `orderapi/server/head_grammar.py`. httptools alone would also accept malformed
heads, for example a line feed without a carriage return before a request.
"""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import httptools

from orderapi.server.head_grammar import (
    END,
    FIELDS,
    REQUEST_LINE,
    RequestRefused,
    broken_rule,
    check_sizes,
)
from orderapi.web.this_request import REQUEST_ID_MAX_CHARS

CHUNKED = -1

_REQUEST_ID = re.compile(
    rb"\r\nx-request-id:[ \t]*+([!-~]{1,%d}+)[ \t]*+\r\n" % REQUEST_ID_MAX_CHARS, re.IGNORECASE
)
# RFC 3986, section 3.2.2: a name or an address, and a port.
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*+|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?+")
_DIGITS = re.compile(r"[0-9]++")
_LONG_LENGTH = re.compile(rb"(\r\ncontent-length:[ \t]*+)0*+[0-9]{19,}+(?=[ \t]*+\r\n)", re.I)
# This length replaces one that httptools cannot read, because httptools counts in 64 bits. It is
# still greater than that of any body which the app accepts.
_LENGTH_MAX = b"9" * 18

# httptools refuses a method that it does not know. For each method but these, httptools reads GET
# instead, and the app sees the real method.
_METHODS_PARSED = frozenset(
    (b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"CONNECT")
)
# Two fields with one of these names make a message ambiguous (RFC 9110, section 5.3).
_ONCE_ONLY = frozenset(("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"))
# The values of repeated fields are joined with a comma. Two keys that are joined with a comma could
# look like one key. Therefore they are joined with DEL. A key must not contain DEL, so the app
# refuses the request.
_SEPARATORS = {"HTTP_IDEMPOTENCY_KEY": "\x7f"}

Environ = dict[str, Any]


class Head:
    """The head of a request. The app gets it as `environ` (PEP 3333).

    `length` is the length of the body in bytes, or CHUNKED.
    """

    __slots__ = ("environ", "expects_continue", "is_head", "keeps_alive", "length", "version")

    def __init__(self, environ: Environ, version: str) -> None:
        self.environ = environ
        self.version = version
        self.is_head = False
        self.length = 0
        self.keeps_alive = False
        self.expects_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a field to the environ. httptools calls this method."""
        key = _environ_key(name)
        text = value.decode("latin-1").strip(" \t")
        environ = self.environ
        if key not in environ:
            environ[key] = text
        elif key in _ONCE_ONLY:
            # httptools would wrap an exception that is raised here, so `_parse_fields` raises it.
            environ[_REPEATED] = name.decode("latin-1")
        elif key != _DROPPED:
            environ[key] += _SEPARATORS.get(key, ",") + text


# The answer to a request whose head cannot be read is written with this head.
NO_HEAD = Head({}, "HTTP/1.1")

# Under these keys, `on_header` stores in the environ what `_parse_fields` removes again.
_DROPPED = "orderapi.dropped"
_REPEATED = "orderapi.repeated"


def read_head(data: bytes, base: Environ) -> Head:
    """Read the head of a request from `data`, which ends with an empty line.

    `base` contains the entries that the environ of each request of the connection has.

    Raises RequestRefused if the head breaks a rule of HTTP or a limit.
    """
    line = REQUEST_LINE.match(data)
    if line is None or FIELDS.fullmatch(data, line.end()) is None:
        raise RequestRefused(broken_rule(data))
    method, target, minor = line.groups()
    check_sizes(data, line.end())
    head = Head(base.copy(), "HTTP/1.1" if minor == b"1" else "HTTP/1.0")
    _parse_fields(head, data if method in _METHODS_PARSED else b"GET" + data[len(method) :])
    environ = head.environ
    environ["REQUEST_METHOD"] = name = method.decode("latin-1")
    environ["SERVER_PROTOCOL"] = head.version
    _set_target(environ, name, target.decode("latin-1"))
    head.is_head = name == "HEAD"
    _check_host(environ, head.version)
    if "SERVER_NAME" not in environ:
        _set_server(environ)
    head.length = _body_length(environ, head.version)
    _read_expectation(head)
    head.keeps_alive = name != "CONNECT" and _keeps_alive(environ, head.version)
    return head


def sent_request_id(data: bytes) -> str:
    """Return the X-Request-ID of a head that may be malformed, or an empty string."""
    found = _REQUEST_ID.search(data, 0, data.find(END) + len(END) if END in data else len(data))
    return found[1].decode("latin-1") if found else ""


def _parse_fields(head: Head, data: bytes) -> None:
    """Let httptools read the fields of a head into its environ."""
    head.environ[_DROPPED] = None
    try:
        httptools.HttpRequestParser(head).feed_data(data)
    except httptools.HttpParserUpgrade:
        # The client asks for another protocol. httptools has read the whole head, and the service
        # answers the request as usual.
        pass
    except httptools.HttpParserError as error:
        # httptools refuses a length of more than 64 bits. The app must get such a request, because
        # the right answer is that the body is too large.
        shorter, count = _LONG_LENGTH.subn(rb"\g<1>" + _LENGTH_MAX, data)
        if not count or shorter == data:
            raise RequestRefused(f"The head cannot be read: {error}.") from None
        for key in [key for key in head.environ if key.startswith(("HTTP_", "CONTENT_"))]:
            del head.environ[key]
        _parse_fields(head, shorter)
        return
    del head.environ[_DROPPED]
    repeated = head.environ.pop(_REPEATED, None)
    if repeated is not None:
        raise RequestRefused(f"The head has two fields '{repeated}'.")


@lru_cache(maxsize=512)
def _environ_key(name: bytes) -> str:
    """Return the key of a header field in the environ.

    A field whose name has an underscore is discarded. In the environ it would have the same key as
    the field with a hyphen.
    """
    if b"_" in name:
        return _DROPPED
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


def _set_target(environ: Environ, method: str, target: str) -> None:
    """Split a request target (RFC 9112, section 3.2) as gunicorn does."""
    environ["RAW_URI"] = target
    if target[0] == "/":
        path, _, query = target.partition("#")[0].partition("?")
    else:
        path, query = _split_other_target(method, target)
    environ["QUERY_STRING"] = query
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def _split_other_target(method: str, target: str) -> tuple[str, str]:
    is_allowed = method == "OPTIONS" if target == "*" else method == "CONNECT" or "://" in target
    try:
        parts = urlsplit(target)
    except ValueError:
        is_allowed = False
    if not is_allowed:
        raise RequestRefused("The request target is neither a path nor a URL.")
    return parts.path, parts.query


def _check_host(environ: Environ, version: str) -> None:
    host = environ.get("HTTP_HOST")
    if host is None:
        if version == "HTTP/1.1":
            raise RequestRefused("The head has no field 'Host'.")
    elif not _is_host(host):
        raise RequestRefused("The field 'Host' is not a host and a port.")


def _set_server(environ: Environ) -> None:
    """Take the server's name and port from the field Host, because a unix socket has neither."""
    name, _, port = environ.get("HTTP_HOST", "").partition(":")
    environ["SERVER_NAME"] = name
    environ["SERVER_PORT"] = port or ("80" if name else "")


@lru_cache(maxsize=64)  # nearly all requests have the same host
def _is_host(host: str) -> bool:
    return _HOST.fullmatch(host) is not None


def _body_length(environ: Environ, version: str) -> int:
    """Return the length of the body in bytes, or CHUNKED (RFC 9112, section 6)."""
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    length = environ.get("CONTENT_LENGTH")
    if coding is not None:
        if coding.lower() != "chunked" or version != "HTTP/1.1":
            raise RequestRefused("The only supported Transfer-Encoding is 'chunked', in HTTP/1.1.")
        if length is not None:
            raise RequestRefused("The head has a 'Content-Length' and a 'Transfer-Encoding'.")
        return CHUNKED
    if length is None:
        return 0
    if not _DIGITS.fullmatch(length):
        raise RequestRefused("The field 'Content-Length' is not a number.")
    # `int` refuses a text of more than 4,300 digits. The first 4,000 digits are too large as well.
    return int(length[:4000])


def _read_expectation(head: Head) -> None:
    expected = head.environ.get("HTTP_EXPECT")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise RequestRefused("The only supported value of 'Expect' is '100-continue'.")
    # The expectation of an HTTP/1.0 client is ignored (RFC 9110, section 10.1.1).
    head.expects_continue = head.version == "HTTP/1.1"


def _keeps_alive(environ: Environ, version: str) -> bool:
    connection = environ.get("HTTP_CONNECTION")
    if connection is None:
        return version == "HTTP/1.1"
    options = {option.strip(" \t") for option in connection.lower().split(",")}
    return "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)
