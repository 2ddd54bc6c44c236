"""What receivers of webhooks use: whether a delivery is genuine."""

import base64
import json
from collections.abc import Iterable
from typing import Any, Protocol

try:
    from standardwebhooks import Webhook, WebhookVerificationError
except ModuleNotFoundError as error:
    if error.name != "standardwebhooks":
        raise
    raise ImportError(
        "orderapi.webhooks needs standardwebhooks: pip install 'orderapi[webhooks]'"
    ) from None

_SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with


class NotVerified(Exception):
    """A delivery is not signed with the secret, or not within 5 minutes from now: answer 400."""


class Headers(Protocol):
    """The headers of a request, of whatever framework, with names in any case."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Give the pairs of name and value."""


def verify(body: bytes, headers: Headers, secret: str) -> dict[str, Any]:
    """Give the event (CloudEvents 1.0) of a delivery, if it is genuine.

    `body` is the request's body as it came, byte for byte, `secret` is `whsec_` and base64. What is
    signed (Standard Webhooks 1.0) is the body together with `webhook-id` and `webhook-timestamp`.
    The same event may be delivered again: drop it by its `webhook-id`.

    Raises NotVerified if it is not genuine, whatever it is then; ValueError if `secret` is none.
    """
    webhook = Webhook(_key(secret))
    try:
        webhook.verify(body, dict(headers.items()), json_parse=False)
        event = json.loads(body)
    except WebhookVerificationError as error:
        raise NotVerified(str(error)) from error
    except (ValueError, RecursionError) as error:
        # Signatures that are not of their form, and bodies that are not UTF-8 or not JSON.
        raise NotVerified("the delivery is not of its form") from error
    if not isinstance(event, dict):
        raise NotVerified("the body is not an event")
    return event


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not key or not secret.startswith(_SECRET_PREFIX):
        raise ValueError("secret: expected whsec_ and base64")
    return key
