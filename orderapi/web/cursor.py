"""The cursors of `GET /orders`. A cursor is opaque, and it is valid only with its own filters."""

import base64
import hashlib
from uuid import UUID

from orderapi.errors import ValidationFailed

_DIGEST_BYTES = 8
_UUID_BYTES = 16


def encode(order_id: str, filters: tuple[str | None, ...]) -> str:
    """Return the cursor of the page that begins after `order_id` in a list with `filters`."""
    identifier = UUID(order_id).bytes
    return base64.urlsafe_b64encode(_digest(identifier, filters) + identifier).decode()


def decode(cursor: str, filters: tuple[str | None, ...]) -> str:
    """Return the order_id after which the page of a cursor begins.

    Raises ValidationFailed if the service did not make this cursor, or made it for other filters.
    """
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError as error:
        raise _bad_cursor() from error
    if len(raw) != _DIGEST_BYTES + _UUID_BYTES:
        raise _bad_cursor()
    order_id = str(UUID(bytes=raw[_DIGEST_BYTES:]))
    # The texts are compared, because base64 has several texts for the same bytes.
    if cursor != encode(order_id, filters):
        raise _bad_cursor()
    return order_id


def _digest(identifier: bytes, filters: tuple[str | None, ...]) -> bytes:
    return hashlib.sha256(identifier + repr(filters).encode(errors="replace")).digest()[
        :_DIGEST_BYTES
    ]


def _bad_cursor() -> ValidationFailed:
    return ValidationFailed(
        {
            "cursor": [
                "This cursor does not belong to a list with these filters. Begin without a cursor."
            ]
        }
    )
