"""Cursors of `GET /orders`: opaque to clients, and bound to the filters they were made for."""

import base64
import hashlib
from uuid import UUID

from orderapi.errors import ValidationFailed

_DIGEST_BYTES = 8
_UUID_BYTES = 16


def encode(order_id: str, filters: tuple[str | None, ...]) -> str:
    """Give the cursor of the page that begins after `order_id`."""
    identifier = UUID(order_id).bytes
    return base64.urlsafe_b64encode(_digest(identifier, filters) + identifier).decode()


def decode(cursor: str, filters: tuple[str | None, ...]) -> str:
    """Give the order_id that a cursor stands for.

    Raises ValidationFailed if it is not one of ours, was changed, or was made for other filters.
    """
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError as error:
        raise _bad_cursor() from error
    if len(raw) != _DIGEST_BYTES + _UUID_BYTES:
        raise _bad_cursor()
    order_id = str(UUID(bytes=raw[_DIGEST_BYTES:]))
    # Made anew, for there are more ways to write the same in base64.
    if cursor != encode(order_id, filters):
        raise _bad_cursor()
    return order_id


def _digest(identifier: bytes, filters: tuple[str | None, ...]) -> bytes:
    return hashlib.sha256(identifier + repr(filters).encode(errors="replace")).digest()[
        :_DIGEST_BYTES
    ]


def _bad_cursor() -> ValidationFailed:
    return ValidationFailed(
        {"cursor": ["Not a cursor of this list with these filters; begin without one."]}
    )
