"""Cursors of `GET /orders`: opaque to clients, and bound to the filters they were made for."""

import base64
import hashlib
from uuid import UUID

from orderapi.errors import ValidationFailed

_DIGEST_BYTES = 8
_UUID_BYTES = 16


def encode(order_id: str, filters: tuple[str | None, ...]) -> str:
    """Give the cursor of the page that begins after `order_id`."""
    return base64.urlsafe_b64encode(_digest(filters) + UUID(order_id).bytes).decode().rstrip("=")


def decode(cursor: str, filters: tuple[str | None, ...]) -> str:
    """Give the order_id that a cursor stands for.

    Raises ValidationFailed if it is not one of ours, or was made for other filters.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _bad_cursor() from error
    digest, identifier = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if len(identifier) != _UUID_BYTES or digest != _digest(filters):
        raise _bad_cursor()
    return str(UUID(bytes=identifier))


def _digest(filters: tuple[str | None, ...]) -> bytes:
    return hashlib.sha256(repr(filters).encode()).digest()[:_DIGEST_BYTES]


def _bad_cursor() -> ValidationFailed:
    return ValidationFailed(
        {"cursor": ["Not a cursor of this list with these filters; begin without one."]}
    )
