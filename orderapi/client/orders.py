"""The client: it creates an order once, shows an order, lists orders, and reads the events."""

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
    call. After a crash, call again with the saved key and order. The call returns the order that
    was made, or makes it.

    >>> import json, pathlib
    >>> job = pathlib.Path("job.json")
    >>> if not job.exists():
    ...     planned = {"customer_id": "cust1", "item_id": "item1", "quantity": 1}
    ...     _ = job.write_text(json.dumps(planned | {"key": new_key()}))
    >>> with OrderClient(base_url) as client:
    ...     order = client.create(**json.loads(job.read_text()))
    >>> order.status
    'created'

    If the process ends before the job is deleted, it is safe to run the whole program again:

    >>> with OrderClient(base_url) as client:
    ...     again = client.create(**json.loads(job.read_text()))
    >>> again == order, again.replayed
    (True, True)
    >>> job.unlink()

    `token` is sent as `Authorization: Bearer`. `deadline_s` limits each call, with its attempts and
    waits, in seconds. For `list` it limits each page, and for `events` each poll. `attempt_s`
    limits one attempt in seconds. The client uses at most half of `deadline_s` for it. The time for
    which a poll of `events` waits for an event is added to both limits. The service answers any
    other request within 10 s. `wait=False` is for tests: the waits between attempts count against
    the deadline, but they take no time.

    The client retries failed connections, time-outs, answers that are not whole or not the answer
    to this call, and the statuses 429, 500, 502, 503 and 504. It waits with exponential backoff and
    full jitter, and at least as long as `Retry-After` says. It never retries 400, 401, 403, 404,
    409, 413, 415 and 422. For other statuses, `retryable` of the problem document decides. If the
    `key_action` is `rotate`, it does not retry, because a new key could make a second order.

    Many threads may use one client. A forked process cannot use the client of its parent, so make a
    client after the fork. Redirects are not followed, and cookies are not kept. Proxies and
    certificates come from the environment, as with httpx2. The logger `orderapi.client` reports
    each failed attempt at the level INFO. The token is in no log, repr or exception.

    Every call raises ValueError if an argument cannot be sent. Nothing is sent then. It raises
    DeadlineExceeded if it has no result within its deadline, and Refused, or a class derived from
    it, if the service refuses the request. It raises RuntimeError after `close` and in a forked
    process. The constructor raises ValueError if an argument is not valid.
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
        """Close the connections. The client cannot be used afterwards."""
        self._exchange.close()

    def create(
        self, customer_id: str, item_id: str, quantity: int, key: str | None = None
    ) -> Order:
        """Create an order, or return the order that was created with `key`.

        `key` is 1 to 255 characters of printable ASCII. Without it, the call makes a new key. After
        a `DeadlineExceeded`, the order may exist. It is safe to call again at any later time with
        the same arguments and the key in the exception.

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
        """Return an order. Raises NotFound if this client has no such order."""
        expected = {"order_id": arguments.check_filter("order_id", order_id)}
        # Dots are escaped, because the id "." or ".." would lead to another path.
        path = f"/orders/{quote(order_id, safe='').replace('.', '%2E')}"
        return self._retries.call(Request("GET", path), partial(_read_order, expected=expected))

    def list(
        self,
        customer_id: str | None = None,
        key: str | None = None,
        *,
        page_orders: int = PAGE_ORDERS,
    ) -> Iterator[Order]:
        """Iterate over the orders, the newest first. Each page is requested when it is needed.

        `customer_id` selects the orders of that customer. `key` selects the one order that was made
        with that key. `page_orders` is the maximum number of orders in a page, 1 to 100.
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
    """Return a new key for one order. Save it with the order before the first attempt."""
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

    Raises AnswerLost if the document is not an order, or if its members differ from `expected`.
    Then it is the answer to another request, for example from a proxy that has confused two
    connections.
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
