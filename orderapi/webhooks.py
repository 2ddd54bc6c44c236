"""For receivers of webhooks: checks whether a delivery is genuine."""

import json
import re
from collections.abc import Iterable
from typing import Any, Protocol

from orderapi import fields

try:
    from standardwebhooks import Webhook, WebhookVerificationError
except ModuleNotFoundError as error:
    if error.name != "standardwebhooks":
        raise
    raise ImportError(
        "orderapi.webhooks needs standardwebhooks: pip install 'orderapi[webhooks]'"
    ) from None

_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
# HMAC-SHA256 in base64.
_V1_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")


class NotVerified(Exception):
    """The delivery is not genuine, or its time differs by more than 5 minutes. Answer 400."""


class Headers(Protocol):
    """The headers of a request, as any framework has them.

    Names may be in any case. Names and values may be text or bytes.
    """

    def items(self) -> Iterable[tuple[str | bytes, str | bytes]]:
        """Return the pairs of name and value."""


def verify(
    body: bytes | bytearray | memoryview | str, headers: Headers, secret: str
) -> dict[str, Any]:
    """Return the event (CloudEvents 1.0) of a delivery, if the delivery is genuine.

    `body` is the request's body, byte for byte. `secret` is `whsec_` and base64. The signature
    covers the body together with `webhook-id` and `webhook-timestamp` (Standard Webhooks 1.0).
    While secrets are rotated, there may be several signatures. Then one right signature is enough.
    The same event may be delivered again: discard a delivery whose `webhook-id` is known.

    Raises NotVerified if the delivery is not genuine. Raises ValueError if `secret` is not a
    secret, and TypeError if an argument has a wrong type. Both are bugs of the receiver.
    """
    webhook = Webhook(_key(secret))
    text = _body_text(body)
    signed = _signed_headers(headers)
    signed[_SIGNATURE] = " ".join(_well_formed(signed.get(_SIGNATURE, "")))
    try:
        webhook.verify(text, signed, json_parse=False)
        event = json.loads(text)
    except WebhookVerificationError as error:
        raise NotVerified(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise NotVerified("the body is not JSON, or a header is not text") from error
    if not isinstance(event, dict):
        raise NotVerified("the body is not an event")
    return event


def _key(secret: str) -> bytes:
    if not isinstance(secret, str):
        raise TypeError(f"secret: expected str, not {type(secret).__name__}")
    try:
        return fields.webhook_secret_key(secret)
    except fields.FieldInvalid as error:
        raise ValueError(f"secret: {error}") from None


def _body_text(body: bytes | bytearray | memoryview | str) -> str:
    if isinstance(body, str):
        return body
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"body: expected bytes or str, not {type(body).__name__}")
    try:
        return bytes(body).decode()
    except UnicodeDecodeError as error:
        raise NotVerified("the body is not UTF-8") from error


def _signed_headers(headers: Headers) -> dict[str, str]:
    """Return the headers of a signed delivery, by their names in lower case.

    Raises NotVerified if one of them was sent twice with different values. This function and the
    receiver might then read different values, and an attacker could send a delivery again with a
    new id.
    """
    items = getattr(headers, "items", None)
    if not callable(items):
        raise TypeError(f"headers: expected a mapping, not {type(headers).__name__}")
    found: dict[str, str] = {}
    for given_name, given_value in items():
        name = _header_text(given_name, "the name of a header").lower()
        if name in (_ID, _TIMESTAMP, _SIGNATURE):
            value = _header_text(given_value, name)
            if found.setdefault(name, value) != value:
                raise NotVerified(f"{name} was sent twice")
    return found


def _header_text(value: str | bytes, what: str) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise TypeError(f"headers: expected str or bytes for {what}, not {type(value).__name__}")
    return value


def _well_formed(signatures: str) -> list[str]:
    """Return the signatures of the version `v1`. The header may contain signatures of others."""
    return [entry for entry in signatures.split() if _V1_SIGNATURE.fullmatch(entry)]
