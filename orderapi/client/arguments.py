"""Checks the arguments of a call before anything is sent.

The service decides what a valid order is. These checks refuse only arguments that cannot be sent,
that would change the address of the request, or that would cause an undocumented exception. Every
function raises ValueError if its argument is not valid. The message names the argument, and it
never contains a token.
"""

import re
from collections.abc import Callable

from orderapi import fields

# No order fits into the service's limit of 16 KiB for a body if one of its texts is longer.
TEXT_MAX_CHARS = 16 * 1024
# One character may take 12 bytes in a request line, and the service accepts lines of 8 KiB.
FILTER_MAX_CHARS = 512
PAGE_MAX_ORDERS = 100
# A longer limit is useless, and calls of the operating system accept at most about three weeks.
DEADLINE_MAX_S = 7 * 24 * 3600.0

_INTEGER_MAX = 2**63 - 1
_BASE_URL_MAX_CHARS = 2048
# A longer token does not fit into the header fields that servers accept.
_TOKEN_MAX_CHARS = 4096
_PORT_MAX = 65_535
_BASE_URL = re.compile(
    r"(?i:https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]\\]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/[^\s?#\\]*)?"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_base_url(base_url: str) -> str:
    """Return the URL without a slash at its end."""
    text = _text("base_url", base_url, _BASE_URL_MAX_CHARS)
    url = _BASE_URL.fullmatch(text)
    if not url:
        raise ValueError("base_url: expected http[s]://host[:port][/prefix]")
    if url["port"] and not 0 < int(url["port"]) <= _PORT_MAX:
        raise ValueError(f"base_url: expected a port from 1 to {_PORT_MAX}")
    try:
        url["host"].encode("idna")
    except UnicodeError:
        raise ValueError("base_url: expected a host name of non-empty, short labels") from None
    return text.rstrip("/")


def check_token(token: str | None) -> str | None:
    """Return the token."""
    if token is None:
        return None
    if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
        raise ValueError("token: expected printable ASCII")
    if not 0 < len(token) <= _TOKEN_MAX_CHARS:
        raise ValueError(f"token: expected 1 to {_TOKEN_MAX_CHARS} characters")
    if token != token.strip():
        raise ValueError("token: expected no white space around it")
    return token


def check_seconds(deadline_s: float, attempt_s: float) -> None:
    """Check the limits of a call and of one attempt, in seconds."""
    for seconds in (deadline_s, attempt_s):
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not 0 < seconds <= DEADLINE_MAX_S:
            raise ValueError(
                "deadline_s and attempt_s: expected seconds, "
                f"more than 0 and at most {DEADLINE_MAX_S:.0f}"
            )


def check_text(name: str, value: str) -> str:
    """Return the text, which becomes a part of a body."""
    return _text(name, value, TEXT_MAX_CHARS)


def check_filter(name: str, value: str) -> str:
    """Return the text, which becomes a part of a path or of a query."""
    return _text(name, value, FILTER_MAX_CHARS)


def check_integer(name: str, value: int, minimum: int, maximum: int) -> int:
    """Return the integer if it is from `minimum` to `maximum`. True and False are no integers."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise ValueError(f"{name}: expected an integer from {minimum} to {maximum}")
    return value


def check_quantity(quantity: int) -> int:
    """Return the quantity if it fits into 64 bits. The service decides which ones it accepts."""
    return check_integer("quantity", quantity, -_INTEGER_MAX, _INTEGER_MAX)


def check_sequence(after: int) -> int:
    """Return the sequence number of an event, or 0."""
    return check_integer("after", after, 0, _INTEGER_MAX)


def format_key(key: str, form: Callable[[str], str] = fields.format_key) -> str:
    """Return a key as `form` writes it. The default is the form for the header."""
    try:
        return form(_text("key", key, TEXT_MAX_CHARS))
    except fields.FieldInvalid as error:
        raise ValueError(f"key: {error}") from None


def _text(name: str, value: str, max_chars: int) -> str:
    if not isinstance(value, str) or len(value) > max_chars:
        raise ValueError(f"{name}: expected a string of at most {max_chars} characters")
    if _SURROGATE.search(value):
        raise ValueError(f"{name}: expected text, not lone surrogates (halves of a character)")
    return value
