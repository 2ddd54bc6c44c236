"""The search for an id of any kind, which an operator may have copied from a log or a message."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orderapi import fields
from orderapi.console.links import client_path, customer_path, order_path
from orderapi.records import PUBLIC_CLIENT, Event, IdempotencyRecord, OrderRange
from orderapi.store.contract import ReadTx
from orderapi.store.statements.lookup import CLIENTS_MAX

# The longest text that can be found is a customer, or a quoted key with an escape per character.
QUERY_MAX_CHARS = 2 * fields.KEY_MAX_CHARS + 2

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The id of a trace, or the header that contains it.
_TRACE = re.compile(r"(?:00-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")
_NUMBER = re.compile(r"#?([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Hit:
    """A result of the search. `kind` says which kind of id the text is. `path` is its page.

    `of_client` is None if the result belongs to no client. `made_at` is None if it has no time.
    """

    kind: str
    value: str
    path: str
    of_client: str | None = None
    made_at: str | None = None


@dataclass(frozen=True, slots=True)
class Miss:
    """A kind of id that was searched without a result, and what this means."""

    kind: str
    meaning: str


def find(tx: ReadTx, query: str) -> tuple[list[Hit], list[Miss]]:
    """Search for a text as each kind of id that has its form."""
    hits: list[Hit] = []
    misses: list[Miss] = []
    for kind, meaning, look_up in _kinds(tx, query.strip()):
        found = list(look_up())
        hits += found
        if not found:
            misses.append(Miss(kind, meaning))
    return hits, misses


def _kinds(tx: ReadTx, query: str) -> Iterator[tuple[str, str, Callable[[], Iterator[Hit]]]]:
    """Yield the kinds of id that the text can be: name, meaning of no result, and look-up."""
    lowered = query.lower()
    if _UUID.fullmatch(lowered):
        yield (
            "an order id",
            "No order has this id. The service has never answered with it.",
            lambda: _orders(tx, lowered),
        )
        yield (
            "an event id",
            "No event has this id. It was never in the feed, and never delivered.",
            lambda: _events("event id", tx.lookup.list_events_with_id(lowered)),
        )
    trace = _TRACE.fullmatch(lowered)
    if trace:
        yield (
            "a trace id",
            "No request of this trace has made an order. The log of the service has a line for each"
            " of its requests, with its `trace_id`.",
            lambda: _events("trace id", tx.lookup.list_events_of_trace(trace[1])),
        )
    number = _NUMBER.fullmatch(query)
    if number:
        last = tx.events.last_sequence()
        yield (
            "an event number",
            f"No event has this number. The last event has the number {last:,}.",
            lambda: _events("event number", [tx.lookup.find_event(int(number[1]))]),
        )
    key = _key_of(query)
    if key is not None:
        yield (
            "an idempotency key",
            _meaning_of_missing_key(tx),
            lambda: _idempotency_records(tx.lookup.list_idempotency_records_of_key(key)),
        )
    yield (
        "a customer",
        "No order names this customer, by any client. Upper and lower case are different.",
        lambda: _customers(tx, query),
    )
    yield (
        "a client",
        "No client has this name: there is no token for it, and it has made no order.",
        lambda: _clients(tx, query),
    )


def _key_of(query: str) -> str | None:
    try:
        return fields.parse_key_parameter(query)
    except fields.FieldInvalid:
        return None


def _meaning_of_missing_key(tx: ReadTx) -> str:
    if len(tx.lookup.list_clients_with_orders()) < CLIENTS_MAX:
        return (
            "No order was ever made under this key, by any client. A retry with this key will make"
            " one."
        )
    return (
        f"None of the first {CLIENTS_MAX:,} clients, sorted by name, has made an order under this"
        " key. The page Retry checks the client that you name."
    )


def _orders(tx: ReadTx, order_id: str) -> Iterator[Hit]:
    order = tx.lookup.find_order(order_id)
    if order is not None:
        yield Hit("order id", order_id, order_path(order_id), order.client_id, order.created_at)


def _events(kind: str, events: list[Event] | list[Event | None]) -> Iterator[Hit]:
    for event in events:
        if event is not None:
            yield Hit(
                kind,
                f"event {event.sequence:,}",
                order_path(event.order_id),
                event.client_id,
                event.created_at,
            )


def _idempotency_records(records: list[IdempotencyRecord]) -> Iterator[Hit]:
    for record in records:
        yield Hit(
            "idempotency key",
            record.key,
            order_path(record.order_id),
            record.client_id,
            record.created_at,
        )


def _customers(tx: ReadTx, customer_id: str) -> Iterator[Hit]:
    for order in tx.lookup.list_orders(OrderRange(1, customer_id=customer_id)):
        yield Hit("customer", customer_id, customer_path(customer_id), None, order.created_at)


def _clients(tx: ReadTx, client_id: str) -> Iterator[Hit]:
    if is_known_client(tx, client_id):
        yield Hit("client", client_id, client_path(client_id))


def is_known_client(tx: ReadTx, client_id: str) -> bool:
    """Return whether a client has tokens or orders, or is the public client."""
    return client_id == PUBLIC_CLIENT or tx.lookup.is_client(client_id)
