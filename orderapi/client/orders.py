"""What callers use: create an order once, show it, list orders, follow the events."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from urllib.parse import quote

from orderapi import fields
from orderapi.client import arguments
from orderapi.client.events import EventFeed
from orderapi.client.exchange import Exchange, Request, WholeAnswer
from orderapi.client.failures import AnswerLost
from orderapi.client.retrying import Retries

PAGE_ORDERS = 100

# A cursor is opaque, but it must fit into a request line.
_CURSOR_MAX_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the service shows it.

    `replayed` says whether an earlier attempt made the order: an attempt of this call, or of an
    earlier call with the same key. Comparisons ignore it.
    """

    order_id: str
    customer_id: str
    item_id: str
    quantity: int
    status: str
    replayed: bool = field(default=False, compare=False)


class OrderClient:
    """A client of the service at `base_url` that retries without ordering twice.

    Every `create` has one key. It is made before the first attempt and sent with every attempt. To
    survive a crash of your own process as well, save the key together with the order before the
    call, and call again with what was saved: this returns the order that was made, or makes it.

    >>> import json, pathlib
    >>> job = pathlib.Path("job.json")
    >>> if not job.exists():
    ...     planned = {"customer_id": "cust1", "item_id": "item1", "quantity": 1}
    ...     _ = job.write_text(json.dumps(planned | {"key": new_key()}))
    >>> with OrderClient(base_url) as client:
    ...     order = client.create(**json.loads(job.read_text()))
    >>> order.status
    'created'

    If anything ends the process before the job is deleted, running all this again is safe:

    >>> with OrderClient(base_url) as client:
    ...     again = client.create(**json.loads(job.read_text()))
    >>> again == order, again.replayed
    (True, True)
    >>> job.unlink()

    `token` is sent as `Authorization: Bearer`. `deadline_s` limits each call in seconds, with its
    attempts and waits; for `list` it limits each page, and for `events` each poll. `attempt_s`
    limits one attempt in seconds, and is at most half of the deadline; the service answers within
    10 s. `wait=False` is for tests: the waits between attempts count against the deadline, but
    they take no time.

    The client retries failed connections, time-outs, answers that are not whole or not the answer
    to this call, and the statuses 429, 500, 502, 503 and 504. It waits with exponential backoff and
    full jitter, and never less than `Retry-After` asks. It never retries 400, 401, 403, 404, 409,
    413, 415 and 422. For other statuses `retryable` of the problem document decides. It retries
    nothing with the `key_action` `rotate`, because a new key could make a second order.

    Many threads may use one client. Make it after a fork, not before: a forked process cannot use
    it. Redirects are not followed and cookies are not kept. Proxies and certificates come from the
    environment, as with httpx2. Attempts that failed are logged at INFO by `orderapi.client`. The
    token is in no log, repr or exception.

    Every call raises ValueError for arguments that cannot be sent, before anything is sent;
    DeadlineExceeded, or Refused or a class derived from it, if it ends without its result; and
    RuntimeError after `close` and in a forked process. The constructor raises ValueError.
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
        """Close the connections; the client cannot be used afterwards."""
        self._exchange.close()

    def create(
        self, customer_id: str, item_id: str, quantity: int, key: str | None = None
    ) -> Order:
        """Create an order, or return the order that was created with `key`.

        `key` is 1 to 255 characters of printable ASCII; a new key is made if it is left out. A
        `DeadlineExceeded` carries the key: the order may exist, and the same arguments with that
        key are safe at any later time.

        Raises KeyReused if the key belongs to another payload, and ValidationFailed if the service
        refuses the payload.
        """
        key = new_key() if key is None else key
        payload = {
            "customer_id": arguments.check_text("customer_id", customer_id),
            "item_id": arguments.check_text("item_id", item_id),
            "quantity": arguments.check_quantity(quantity),
        }
        headers = {
            "Idempotency-Key": arguments.format_key(key),
            "Content-Type": "application/json",
        }
        body = json.dumps(payload).encode()
        request = Request("POST", "/orders", headers=headers, body=body, key=key)
        return self._retries.call(request, partial(_read_order, expected=payload))

    def get(self, order_id: str) -> Order:
        """Return an order; raises NotFound if this client has no such order."""
        expected = {"order_id": arguments.check_filter("order_id", order_id)}
        # Dots are escaped, because "." and ".." alone would name other paths.
        path = f"/orders/{quote(order_id, safe='').replace('.', '%2E')}"
        return self._retries.call(Request("GET", path), partial(_read_order, expected=expected))

    def list(
        self,
        customer_id: str | None = None,
        key: str | None = None,
        *,
        page_orders: int = PAGE_ORDERS,
    ) -> Iterator[Order]:
        """Iterate over the orders, the newest first, and get each page when it is needed.

        `customer_id` selects the orders of that customer, `key` the one order that was made with
        that key. `page_orders` is how many orders a page has, 1 to 100.
        """
        query = {
            "limit": str(
                arguments.check_integer("page_orders", page_orders, 1, arguments.PAGE_MAX_ORDERS)
            )
        }
        expected = {}
        if customer_id is not None:
            query["customer_id"] = arguments.check_filter("customer_id", customer_id)
            expected["customer_id"] = customer_id
        if key is not None:
            query["idempotency_key"] = arguments.format_key(key, fields.quote_key)
        return self._pages(query, expected)

    def events(self, after: int = 0, *, follow: bool = True) -> EventFeed:
        """Iterate over the events whose sequence is greater than `after`, in order of commit.

        With `follow`, the iterator waits for new events and never ends. Without it, the iterator
        ends after the last event that exists.
        """
        return EventFeed(self._retries, after, follow=follow)

    def _pages(self, query: dict[str, str], expected: Mapping[str, object]) -> Iterator[Order]:
        while True:
            orders, cursor = self._retries.call(
                Request("GET", "/orders", query), partial(_read_page, expected=expected)
            )
            yield from orders
            if cursor is None:
                return
            query = query | {"cursor": cursor}


def new_key() -> str:
    """Make a key for one order; save it with the order before the first attempt."""
    return str(uuid.uuid4())


def _read_order(answer: WholeAnswer, expected: Mapping[str, object]) -> Order:
    replayed = answer.headers.get("idempotent-replayed") == "true"
    return _order(answer.document, expected, replayed=replayed)


def _read_page(
    answer: WholeAnswer, expected: Mapping[str, object]
) -> tuple[list[Order], str | None]:
    match answer.document:
        case {"orders": [*orders], "next_cursor": None}:
            return [_order(order, expected) for order in orders], None
        case {"orders": [*orders], "next_cursor": str(cursor)} if (
            cursor.isascii() and cursor.isprintable() and len(cursor) <= _CURSOR_MAX_CHARS
        ):
            return [_order(order, expected) for order in orders], cursor
    raise AnswerLost("the answer is not a page of orders")


def _order(document: Any, expected: Mapping[str, object], *, replayed: bool = False) -> Order:
    """Return the order in a JSON document.

    Raises AnswerLost if it is none, or if its members differ from the `expected` ones: it is then
    the answer to another request, for instance from a proxy that mixed up two connections.
    """
    match document:
        case {
            "order_id": str(order_id),
            "customer_id": str(customer_id),
            "item_id": str(item_id),
            "quantity": int(quantity),
            "status": str(status),
        } if not isinstance(quantity, bool):
            if any(document[name] != value for name, value in expected.items()):
                raise AnswerLost("the answer shows another order than the one that was asked for")
            return Order(order_id, customer_id, item_id, quantity, status, replayed)
    raise AnswerLost("the answer is not an order")
