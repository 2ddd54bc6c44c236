"""What callers use: create an order once, show it, list orders, follow the events."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from orderapi.client.exchange import Answer, Exchange, Request
from orderapi.client.failures import AnswerLost
from orderapi.client.feed import EventFeed
from orderapi.client.retrying import Retries

KEY_MAX_CHARS = 255
PAGE_ORDERS = 100

_PRINTABLE = re.compile(r"[ -~]+")
# Printable ASCII without space, comma and quote goes as it is.
_BARE_KEY = re.compile(r"[!#-+\--~]+")


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the service shows it.

    `replayed` tells whether it had been made before the attempt that got the answer: by an earlier
    call with this key, or by an earlier attempt of this one. It does not enter comparisons.
    """

    order_id: str
    customer_id: str
    item_id: str
    quantity: int
    status: str
    replayed: bool = field(default=False, compare=False)


class OrderClient:
    """A client of the service at `base_url` that retries without ordering twice.

    Every `create` has one key, made before its first attempt and sent on each. To survive a crash
    of your own as well, save the key with the order before the call, and call again with what was
    saved: that gives the order that was made, or makes it.

    >>> import json, pathlib
    >>> job = pathlib.Path("job.json")
    >>> if not job.exists():
    ...     planned = {"customer_id": "cust1", "item_id": "item1", "quantity": 1}
    ...     _ = job.write_text(json.dumps(planned | {"key": new_key()}))
    >>> with OrderClient(base_url) as client:
    ...     order = client.create(**json.loads(job.read_text()))
    >>> order.status
    'created'

    Whatever ends the process before the next line, running all this again is safe:

    >>> with OrderClient(base_url) as client:
    ...     again = client.create(**json.loads(job.read_text()))
    >>> again == order, again.replayed
    (True, True)
    >>> job.unlink()

    Parameters: `token` is sent as `Authorization: Bearer`; `deadline_s` bounds each call in
    seconds, attempts and waits together, for `list` each page and for `events` each poll;
    `attempt_s` bounds one attempt (the service answers within 10 s) and is cut to half of the
    deadline. `wait=False` is for tests: the waits between attempts count against the deadline, but
    are not slept.

    Connection failures, time-outs, answers that are not whole, 429, 500, 502, 503 and 504 are tried
    again, with exponential backoff, full jitter, and not before `Retry-After`; 400, 401, 404, 409,
    413, 415 and 422 never. Otherwise `retryable` of the problem document decides; with
    `key_action` `rotate` nothing is tried again, since a new key could make a second order.

    One client may be used by many threads; make it after a fork, not before. Redirects are not
    followed; proxies and certificates come from the environment, as with httpx2. Attempts that
    failed are logged at INFO by `orderapi.client`. The token is in no log, repr or exception.

    Every call raises `DeadlineExceeded`, `Refused` or one of its kinds, and ValueError for
    arguments that cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        deadline_s: float = 60.0,
        attempt_s: float = 15.0,
        wait: bool = True,
    ) -> None:
        self._exchange = Exchange(base_url, token)
        self._retries = Retries(
            self._exchange, deadline_s=deadline_s, attempt_s=attempt_s, waits=wait
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used after it."""
        self._exchange.close()

    def create(
        self, customer_id: str, item_id: str, quantity: int, key: str | None = None
    ) -> Order:
        """Create an order, or give the one that was created with `key`.

        `key` is 1 to 255 characters of printable ASCII, a new one if left out. A
        `DeadlineExceeded` has it as `key`: the order may exist, and the same arguments with that
        key are safe, whenever that is.

        Raises KeyReused if the key belongs to another payload, ValidationFailed if the service
        refuses the payload.
        """
        key = new_key() if key is None else key
        headers = {"Idempotency-Key": _key_header(key), "Content-Type": "application/json"}
        payload = {"customer_id": customer_id, "item_id": item_id, "quantity": quantity}
        body = json.dumps(payload, allow_nan=False).encode()
        request = Request("POST", "/orders", headers=headers, body=body, key=key)
        return self._retries.call(request, _read_order)

    def get(self, order_id: str) -> Order:
        """Give an order; raises NotFound if there is none that is ours."""
        # Left as they are, dots would be taken for the folders of that name.
        path = f"/orders/{quote(order_id, safe='').replace('.', '%2E')}"
        return self._retries.call(Request("GET", path), _read_order)

    def list(
        self,
        customer_id: str | None = None,
        key: str | None = None,
        *,
        page_orders: int = PAGE_ORDERS,
    ) -> Iterator[Order]:
        """Iterate over the orders, newest first, asking for a page of 1 to 100 when it is needed.

        `customer_id` and `key` limit it to that customer's orders, and to the one made with the
        key.
        """
        filters = {"customer_id": customer_id}
        if key is not None:
            filters["idempotency_key"] = _quoted(key)
        query = {name: value for name, value in filters.items() if value is not None}
        query["limit"] = str(page_orders)
        while True:
            orders, cursor = self._retries.call(Request("GET", "/orders", query), _read_page)
            yield from orders
            if cursor is None:
                return
            query["cursor"] = cursor

    def events(self, after: int = 0, *, follow: bool = True) -> EventFeed:
        """Iterate over the events with a sequence greater than `after`, in order of commit.

        With `follow` it waits for new ones for ever; without, it ends with the last there is.
        """
        return EventFeed(self._retries, after, follow=follow)


def new_key() -> str:
    """Make a key for one order; save it with the order before the first attempt."""
    return str(uuid.uuid4())


def _key_header(key: str) -> str:
    quoted = _quoted(key)
    return key if _BARE_KEY.fullmatch(key) else quoted


def _quoted(key: str) -> str:
    """Give a key as a structured-field string (RFC 8941 section 3.3.3)."""
    if not _PRINTABLE.fullmatch(key) or len(key) > KEY_MAX_CHARS:
        raise ValueError(f"key: expected 1 to {KEY_MAX_CHARS} characters of printable ASCII")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read_order(answer: Answer) -> Order:
    replayed = answer.headers.get("idempotent-replayed") == "true"
    return _order(answer.document, replayed=replayed)


def _read_page(answer: Answer) -> tuple[list[Order], str | None]:
    match answer.document:
        case {"orders": [*orders], "next_cursor": None}:
            return [_order(order) for order in orders], None
        case {"orders": [*orders], "next_cursor": str(cursor)}:
            return [_order(order) for order in orders], cursor
    raise AnswerLost("the answer is not a page of orders")


def _order(document: Any, *, replayed: bool = False) -> Order:
    match document:
        case {
            "order_id": str(order_id),
            "customer_id": str(customer_id),
            "item_id": str(item_id),
            "quantity": int(quantity),
            "status": str(status),
        }:
            return Order(order_id, customer_id, item_id, quantity, status, replayed)
    raise AnswerLost("the answer is not an order")
