"""What the audit proves about the rows of one order, and the text of each finding."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orderapi import idempotency
from orderapi.orders import (
    EVENT_TYPE,
    LEDGER_ENTRY_TYPE,
    ORDER_STATUS,
    REPLY_STATUS,
    event_payload,
    first_answer,
)
from orderapi.records import Order, Reply
from orderapi.store.statements.audit import AUDITED_COLUMNS

Row = Sequence[Any]

_SHOWN_MAX_CHARS = 1_000

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)

_NO_TIME = "which is not RFC 3339 in UTC with milliseconds and Z"
_ROW_NAMES = {
    "orders": ("order_id",),
    "ledger": ("ledger_id",),
    "idempotency_keys": ("idempotency_key", "client_id"),
    "events": ("sequence",),
}
# What is proven of the rows of each table: that there is one, and that it agrees with the order.
_PROVEN = {
    "ledger": ("ledger entry", "the ledger entry agrees with the order"),
    "idempotency_keys": (
        "idempotency record",
        "the fingerprint and the saved answer are those of the order, byte for byte",
    ),
    "events": ("event", "the event agrees with the order"),
}
_BESIDE_ORDERS = [table for table in AUDITED_COLUMNS if table != "orders"]
_ORDER_ID_AT = {table: columns.index("order_id") for table, columns in AUDITED_COLUMNS.items()}


def check_range(rows: Mapping[str, list[Row]]) -> Iterator[str]:
    """Compare a range of orders with their rows in the other tables. Yield one line per finding.

    `rows` has all rows of the range by table, with AUDITED_COLUMNS, each sorted by order_id.
    """
    # A range is almost always sound, and a plain loop proves that in less time.
    if not _is_sound(*rows.values()):
        yield from _explain_range(rows)


def _is_sound(orders: list[Row], ledger: list[Row], keys: list[Row], events: list[Row]) -> bool:
    """Tell whether there is no finding. The lists are sorted by order_id, so the rows match."""
    how_many = len({row[0] for row in orders})
    if any(len(rows) != how_many for rows in (orders, ledger, keys, events)):
        return False
    for row, entry, key, event in zip(orders, ledger, keys, events, strict=True):
        order = Order(*row)
        if next(_check_form(order), None) is not None:
            return False
        if (entry[1:-1], key[1:-1], event[1:-1]) != tuple(_expected_rows(order).values()):
            return False
        if not all(
            each[-1] == order.created_at or _is_time(each[-1]) for each in (entry, key, event)
        ):
            return False
    return True


def _explain_range(rows: Mapping[str, list[Row]]) -> Iterator[str]:
    by_order = {table: _group_by_order(table, rows[table]) for table in _BESIDE_ORDERS}
    seen = None
    for row in rows["orders"]:
        if row[0] == seen:
            yield from check_repetition([row])
            continue
        seen = row[0]
        yield from _check_order(row, {table: by.pop(seen, []) for table, by in by_order.items()})
    for table, groups in by_order.items():
        for order_id, orphans in groups.items():
            for orphan in orphans:
                yield f"{_name_row(table, orphan)}: there is no order {show(order_id)}"


def _group_by_order(table: str, rows: list[Row]) -> defaultdict[object, list[Row]]:
    at = _ORDER_ID_AT[table]
    groups: defaultdict[object, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[at]].append(row)
    return groups


def check_repetition(repeated: list[Row]) -> Iterator[str]:
    """Yield one line for each further row of an order whose first row is elsewhere."""
    for row in repeated:
        yield f"{_name_row('orders', row)}: occurs more than once"


def _check_order(row: Row, rows: Mapping[str, list[Row]]) -> Iterator[str]:
    for _, findings in checks_of_order(row, rows):
        yield from findings


def checks_of_order(row: Row, rows: Mapping[str, list[Row]]) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield each check of one order: what it proves, and its findings, which are none if it passes.

    `row` is the row of the order, and `rows` has its rows in the other tables, all with
    AUDITED_COLUMNS.
    """
    order = Order(*row)
    yield "the order has a valid id, status and time", _check_form(order)
    for table, expected in _expected_rows(order).items():
        name, agreement = _PROVEN[table]
        yield f"the order has exactly one {name}", _check_number(row, table, rows[table])
        yield agreement, _check_agreement(table, rows[table], expected, order)


def _check_number(row: Row, table: str, found: list[Row]) -> Iterator[str]:
    if len(found) != 1:
        names = "".join(f"; {_name_row(table, each)}" for each in found)
        yield f"{_name_row('orders', row)}: has {len(found)} rows in {table}, not 1{names}"


def _check_agreement(
    table: str, found: list[Row], expected: tuple[object, ...], order: Order
) -> Iterator[str]:
    for each in found:
        yield from _explain(table, each, expected, order)


def _check_form(order: Order) -> Iterator[str]:
    name = f"orders order_id {show(order.order_id)}"
    if not isinstance(order.order_id, str) or not _UUID7.fullmatch(order.order_id):
        yield f"{name}: order_id is not a UUIDv7 in lower case"
    if order.status != ORDER_STATUS:
        yield f"{name}: status is {show(order.status)}, not {show(ORDER_STATUS)}"
    if not _is_time(order.created_at):
        yield f"{name}: created_at is {show(order.created_at)}, {_NO_TIME}"


def _expected_rows(order: Order) -> dict[str, tuple[object, ...]]:
    """Return the expected row of an order in each table, without its own id and its time."""
    try:
        reply, event = first_answer(order), event_payload(order)
    except TypeError:  # damage has turned text into bytes, and no row can agree with that
        reply, event = Reply(REPLY_STATUS, "", order.order_id), ""
    # The payload of POST /orders after validation.
    payload = {
        "customer_id": order.customer_id,
        "item_id": order.item_id,
        "quantity": order.quantity,
    }
    request_hash = idempotency.fingerprint("POST", "/orders", payload) if event else ""
    return {
        "ledger": (order.order_id, *payload.values(), LEDGER_ENTRY_TYPE),
        "idempotency_keys": (
            order.client_id,
            reply.order_id,
            request_hash,
            reply.status,
            reply.body,
        ),
        "events": (EVENT_TYPE, order.order_id, order.client_id, event),
    }


def _explain(table: str, row: Row, expected: tuple[object, ...], order: Order) -> Iterator[str]:
    for column, found, value in zip(AUDITED_COLUMNS[table][1:-1], row[1:-1], expected, strict=True):
        if found != value:
            yield (
                f"{_name_row(table, row)}: {column} is {show(found)}, not {show(value)}"
                f" as order_id {show(order.order_id)} has it"
            )
    # Usually this is the time of the order, which has been checked.
    if row[-1] != order.created_at and not _is_time(row[-1]):
        yield f"{_name_row(table, row)}: created_at is {show(row[-1])}, {_NO_TIME}"


def _name_row(table: str, row: Row) -> str:
    values = dict(zip(AUDITED_COLUMNS[table], row, strict=True))
    return " ".join([table, *(f"{column} {show(values[column])}" for column in _ROW_NAMES[table])])


def show(value: object) -> str:
    """Return any value as one line of printable text."""
    shown = ascii(value) if isinstance(value, str) else repr(value)
    return shown if len(shown) <= _SHOWN_MAX_CHARS else shown[:_SHOWN_MAX_CHARS] + "..."


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
