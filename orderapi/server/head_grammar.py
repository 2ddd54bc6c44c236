"""The grammar and the size limits of a head, and the sentence that says what a head breaks.

The grammar is that of RFC 9112, sections 3 and 5, without its obsolete forms.
"""

import re

from orderapi.server.limits import (
    FIELD_MAX_BYTES,
    FIELDS_MAX,
    HEAD_MAX_BYTES,
    REQUEST_LINE_MAX_BYTES,
)

END = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# The names of registered methods have 3 to 20 capital letters, and some have a hyphen.
REQUEST_LINE = re.compile(rb"([!$%&'*+\-.^_`|~0-9A-Z]{3,20}+) ([\x21-\x7e]++) HTTP/1\.([01])\r\n")
_PARTIAL_REQUEST_LINE = re.compile(rb"[ -~]*+\r?+")
FIELDS = re.compile(rb"(?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")


class RequestRefused(Exception):
    """The request cannot be read. The message is a sentence for the client that says why."""


def check_incomplete_head(data: bytes) -> None:
    """Check the first bytes of a head, before the rest has arrived.

    Raises RequestRefused if no further bytes can make the head valid.
    """
    line = data.partition(b"\r\n")[0]
    if _BARE_LF.search(data):
        raise RequestRefused("A line of the head ends with a line feed alone.")
    if not _PARTIAL_REQUEST_LINE.fullmatch(line):
        raise RequestRefused("The request line is not printable ASCII.")
    if len(line) > REQUEST_LINE_MAX_BYTES + len(b"\r"):
        raise RequestRefused(_line_too_long())
    if len(data) > HEAD_MAX_BYTES:
        raise RequestRefused(_head_too_long())


def broken_rule(data: bytes) -> str:
    """Return a sentence for the client that says which rule the head breaks."""
    line, _, fields = data.partition(b"\r\n")
    if _BARE_LF.search(data):
        return "A line of the head ends with a line feed alone."
    if REQUEST_LINE.fullmatch(line + b"\r\n") is None:
        return "The request line is not 'METHOD target HTTP/1.1'."
    for field in fields.removesuffix(END).split(b"\r\n"):
        if field[:1] in (b" ", b"\t"):
            return "A field of the head is folded over two lines."
        if not re.match(_TOKEN + rb"++:", field):
            return "A header field does not begin with a valid name and a colon."
        if not re.fullmatch(rb"[^:]++:[\t\x20-\x7e\x80-\xff]*+", field):
            return "A field of the head has a control character in its value."
    return "The head of the request is malformed."


def check_sizes(data: bytes, line_end: int) -> None:
    """Check a whole head whose request line ends at `line_end`.

    Raises RequestRefused if it exceeds a limit.
    """
    if line_end > REQUEST_LINE_MAX_BYTES + len(b"\r\n"):
        raise RequestRefused(_line_too_long())
    if len(data) > HEAD_MAX_BYTES:
        raise RequestRefused(_head_too_long())
    if data.count(b"\r\n") - 2 > FIELDS_MAX:
        raise RequestRefused(f"The head has more than {FIELDS_MAX} fields.")
    if len(data) > FIELD_MAX_BYTES:
        longest = max(len(field) for field in data[line_end:].split(b"\r\n"))
        if longest + len(b"\r\n") > FIELD_MAX_BYTES:
            raise RequestRefused(f"A field of the head is longer than {FIELD_MAX_BYTES} bytes.")


def _line_too_long() -> str:
    return f"The request line is longer than {REQUEST_LINE_MAX_BYTES} bytes."


def _head_too_long() -> str:
    return f"The head of the request is longer than {HEAD_MAX_BYTES} bytes."
