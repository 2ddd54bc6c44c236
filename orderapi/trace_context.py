"""Parses the header `traceparent` (W3C Trace Context, section 3.2).

A trace is a tree of calls across services. The header names the trace, and the call that made this
request. This service adds no calls of its own. It passes the header on to the event of an order and
to the delivery of that event.
"""

import re

# version-traceid-parentid-flags. A version after 00 may append more fields.
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<parent_id>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_KNOWN_VERSION, _INVALID_VERSION = "00", "ff"
_SAMPLED = 0x01


def parse_traceparent(header: str | None) -> str | None:
    """Return the header in version 00, which this service passes on. None if it is malformed.

    Of a later version, only the fields of version 00 are kept, and of its flags only `sampled`
    (section 4.3).
    """
    found = _TRACEPARENT.fullmatch(header or "")
    if found is None or not found["trace_id"].strip("0") or not found["parent_id"].strip("0"):
        return None
    if found["version"] == _KNOWN_VERSION:
        return None if found["more"] else found[0]
    if found["version"] == _INVALID_VERSION:
        return None
    flags = int(found["flags"], 16) & _SAMPLED
    return f"{_KNOWN_VERSION}-{found['trace_id']}-{found['parent_id']}-{flags:02x}"


def trace_id(traceparent: str) -> str:
    """Return the id of the trace, 32 hexadecimal digits. `parse_traceparent` made the argument."""
    return traceparent.split("-")[1]
