"""The ways of placing an order that are compared. All of them write the same rows.

Each contender is used by all clients of one host, which are the greenlets of one process.
"""

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from orderapi import uuid7
from orderapi.orders import (
    EVENT_TYPE,
    LEDGER_ENTRY_TYPE,
    ORDER_STATUS,
    REPLY_STATUS,
    event_payload,
    first_answer,
)
from orderapi.records import Claim, NewOrder, Order
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.servers import conninfo
from orderapi.store.postgres.store import PostgresStore
from tests.bench.postgres.round_trip import FarConnection

Place = Callable[[Claim, NewOrder], object]

# The connections of one host. More of them only wait for the same row.
CONNECTIONS = 8
_CALL_MAX_S = 60.0

# Events are numbered without gaps: a transaction that updates this row blocks all others until its
# COMMIT.
# The row leaves room in its page, so that an update needs no change of an index.
COUNTER = (
    "CREATE TABLE counter (value bigint NOT NULL) WITH (fillfactor = 10);"
    "INSERT INTO counter VALUES (0)"
)
_KEY = (
    "INSERT INTO idempotency_keys (client_id, idempotency_key, request_hash, status_code,"
    " response_body, order_id, created_at) VALUES (%(client_id)s, %(key)s, %(hash)s, %(code)s,"
    " %(body)s, %(order_id)s, %(created_at)s)"
)
_ORDER = (
    "INSERT INTO orders (order_id, client_id, customer_id, item_id, quantity, status, created_at)"
    " VALUES (%(order_id)s, %(client_id)s, %(customer_id)s, %(item_id)s, %(quantity)s, %(status)s,"
    " %(created_at)s)"
)
_LEDGER = (
    "INSERT INTO ledger (order_id, customer_id, item_id, quantity, entry_type, created_at)"
    " VALUES (%(order_id)s, %(customer_id)s, %(item_id)s, %(quantity)s, %(entry_type)s,"
    " %(created_at)s)"
)
_NEXT = "next AS (UPDATE counter SET value = value + 1{} RETURNING value)"
_EVENT = (
    "INSERT INTO events (sequence, event_id, type, order_id, client_id, payload, created_at)"
    " SELECT value, %(event_id)s, %(type)s, %(order_id)s, %(client_id)s, %(payload)s,"
    " %(created_at)s FROM next"
)
# The counter is updated in the last statement, together with the insertion that needs it, so that
# its row is locked for as short a time as possible.
_STATEMENTS = (_ORDER, _KEY, _LEDGER, f"WITH {_NEXT.format('')} {_EVENT}")
# For the same reason, the condition lets the counter wait for the three other insertions.
_OTHERS = ("new_order", "new_key", "new_entry")
_AFTER_OTHERS = " WHERE " + " AND ".join(f"EXISTS (SELECT 1 FROM {name})" for name in _OTHERS)
_ONE_STATEMENT = (
    f"WITH new_order AS ({_ORDER} RETURNING 1), new_key AS ({_KEY} RETURNING 1),"
    f" new_entry AS ({_LEDGER} RETURNING 1), {_NEXT.format(_AFTER_OTHERS)} {_EVENT}"
)


class Transactions:
    """A transaction for each request, as most services do it: BEGIN, four INSERTs, COMMIT."""

    def __init__(self, url: str) -> None:
        self._connections = _Connections(url)

    def place(self, claim: Claim, new_order: NewOrder) -> None:
        """Place one order."""
        row = _row(claim, new_order)
        with self._connections.one() as connection, connection.transaction():
            for statement in _STATEMENTS:
                connection.execute(statement, row)


class Statements:
    """One statement for each request, which commits by itself."""

    def __init__(self, url: str) -> None:
        self._connections = _Connections(url)

    def place(self, claim: Claim, new_order: NewOrder) -> None:
        """Place one order."""
        row = _row(claim, new_order)
        with self._connections.one() as connection:
            connection.execute(_ONE_STATEMENT, row)


class _Connections:
    """The connections of one host. The driver prepares on each of them what is used often."""

    def __init__(self, url: str) -> None:
        self._free: queue.LifoQueue[FarConnection] = queue.LifoQueue()
        parameters = conninfo(PostgresUrl(url))
        for _ in range(CONNECTIONS):
            self._free.put(FarConnection.connect(**parameters, autocommit=True))

    @contextmanager
    def one(self) -> Iterator[FarConnection]:
        """Lend a connection that no other greenlet uses."""
        connection = self._free.get()
        connection.deadline = time.monotonic() + _CALL_MAX_S
        try:
            yield connection
        finally:
            self._free.put(connection)


def _row(claim: Claim, new: NewOrder) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    seconds, ms = divmod(now_ms, 1000)
    created_at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ms:03}Z"
    order_id = uuid7.after(None, now_ms)
    order = Order(
        order_id,
        new.client_id,
        new.customer_id,
        new.item_id,
        new.quantity,
        ORDER_STATUS,
        created_at,
    )
    return {
        "client_id": claim.client_id,
        "key": claim.key,
        "hash": claim.fingerprint,
        "code": REPLY_STATUS,
        "body": first_answer(order).body,
        "order_id": order_id,
        "customer_id": new.customer_id,
        "item_id": new.item_id,
        "quantity": new.quantity,
        "status": ORDER_STATUS,
        "entry_type": LEDGER_ENTRY_TYPE,
        "event_id": uuid7.after(order_id, now_ms),
        "type": EVENT_TYPE,
        "payload": event_payload(order),
        "created_at": created_at,
    }


def _ours(url: str) -> Place:
    return PostgresStore(PostgresUrl(url)).place


# Each contender by its id: its name in the tables, and what gives the function that a client calls.
OURS = "orderapi"
TRANSACTIONS = "transaction"
STATEMENTS = "statement"
NAMES = {
    TRANSACTIONS: "a transaction per request",
    STATEMENTS: "one statement per request",
    OURS: "orderapi",
}
OPENERS: dict[str, Callable[[str], Place]] = {
    TRANSACTIONS: lambda url: Transactions(url).place,
    STATEMENTS: lambda url: Statements(url).place,
    OURS: _ours,
}
