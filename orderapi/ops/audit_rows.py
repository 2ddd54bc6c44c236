"""What the rows of an order must say: each expected row, and how a deviation is told."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orderapi import idempotency
from orderapi.documents import dump, order_members
from orderapi.orders import EVENT_TYPE, LEDGER_ENTRY_TYPE
from orderapi.records import Order
from orderapi.store.statements.audit import AUDITED_COLUMNS

Row = Sequence[Any]

_SHOWN_CHARS_MOST = 1_000

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)

_NO_TIME = "not RFC 3339 in UTC with milliseconds and Z"
_ROW_NAMES = {
    "orders": ("order_id",),
    "ledger": ("ledger_id",),
    "idempotency_keys": ("idempotency_key", "client_id"),
    "events": ("sequence",),
}
_BESIDE_ORDERS = [table for table in AUDITED_COLUMNS if table != "orders"]
_ORDER_ID_AT = {table: columns.index("order_id") for table, columns in AUDITED_COLUMNS.items()}


def check_range(rows: Mapping[str, list[Row]]) -> Iterator[str]:
    """Compare a range of orders with the rows beside them and give a line per finding.

    `rows` has all rows of the range by table, with AUDITED_COLUMNS, each sorted by order_id.
    """
    # Nearly always nothing is wrong: a plain loop sees that in less time.
    if not _is_sound(*rows.values()):
        yield from _explain_range(rows)


def _is_sound(orders: list[Row], ledger: list[Row], keys: list[Row], events: list[Row]) -> bool:
    """Tell whether all is as it must be; all are sorted by order_id, so rows of one order meet."""
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
    by_order = {table: _by_order(table, rows[table]) for table in _BESIDE_ORDERS}
    seen = None
    for row in rows["orders"]:
        if row[0] == seen:
            yield f"{_name('orders', row)}: is there more than once"
            continue
        seen = row[0]
        yield from _check_order(row, {table: by.pop(seen, []) for table, by in by_order.items()})
    for table, groups in by_order.items():
        for order_id, orphans in groups.items():
            for orphan in orphans:
                yield f"{_name(table, orphan)}: there is no order {show(order_id)}"


def _by_order(table: str, rows: list[Row]) -> defaultdict[object, list[Row]]:
    at = _ORDER_ID_AT[table]
    groups: defaultdict[object, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[at]].append(row)
    return groups


def _check_order(row: Row, rows: dict[str, list[Row]]) -> Iterator[str]:
    order = Order(*row)
    yield from _check_form(order)
    for table, expected in _expected_rows(order).items():
        found = rows[table]
        if len(found) != 1:
            names = "".join(f"; {_name(table, each)}" for each in found)
            yield f"{_name('orders', row)}: has {len(found)} rows in {table}, not 1{names}"
        for each in found:
            yield from _explain(table, each, expected, order)


def _check_form(order: Order) -> Iterator[str]:
    name = f"orders order_id {show(order.order_id)}"
    if not isinstance(order.order_id, str) or not _UUID7.fullmatch(order.order_id):
        yield f"{name}: order_id is no UUIDv7 in lower case"
    if order.status != "created":
        yield f"{name}: status is {show(order.status)}, not 'created'"
    if not _is_time(order.created_at):
        yield f"{name}: created_at is {show(order.created_at)}, {_NO_TIME}"


def _expected_rows(order: Order) -> dict[str, tuple[object, ...]]:
    """Give what the row beside an order must say in each table, but for its name and its time."""
    try:
        body = dump(order_members(order))
    except TypeError:  # damage that turned text into bytes: nothing fits that
        body = ""
    # As POST /orders has it after validation.
    payload = {
        "customer_id": order.customer_id,
        "item_id": order.item_id,
        "quantity": order.quantity,
    }
    request_hash = idempotency.fingerprint("POST", "/orders", payload) if body else ""
    return {
        "ledger": (order.order_id, *payload.values(), LEDGER_ENTRY_TYPE),
        "idempotency_keys": (order.client_id, order.order_id, request_hash, 201, body),
        "events": (EVENT_TYPE, order.order_id, order.client_id, body.rstrip("\n")),
    }


def _explain(table: str, row: Row, expected: tuple[object, ...], order: Order) -> Iterator[str]:
    for column, found, value in zip(AUDITED_COLUMNS[table][1:-1], row[1:-1], expected, strict=True):
        if found != value:
            yield (
                f"{_name(table, row)}: {column} is {show(found)}, not {show(value)}"
                f" as order_id {show(order.order_id)} has it"
            )
    # Mostly the order's own time, which has been looked at.
    if row[-1] != order.created_at and not _is_time(row[-1]):
        yield f"{_name(table, row)}: created_at is {show(row[-1])}, {_NO_TIME}"


def _name(table: str, row: Row) -> str:
    values = dict(zip(AUDITED_COLUMNS[table], row, strict=True))
    return " ".join([table, *(f"{column} {show(values[column])}" for column in _ROW_NAMES[table])])


def show(value: object) -> str:
    """Write a value on one line, whatever is in it."""
    shown = ascii(value) if isinstance(value, str) else repr(value)
    return shown if len(shown) <= _SHOWN_CHARS_MOST else shown[:_SHOWN_CHARS_MOST] + "..."


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
