"""Every statement that reads or changes rows, once, named for what it does.

Parameters are named and types are portable; an engine hands in the `execute` that runs them.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from orderapi import uuid7
from orderapi.records import (
    Claim,
    Effects,
    Event,
    LastEvent,
    NewOrder,
    Order,
    OrderPage,
    RelayState,
    Reply,
    SavedClaim,
)
from orderapi.store.audit_tx import AuditTx

Row = Sequence[Any]
Execute = Callable[[str, Mapping[str, object]], Iterable[Row]]

ORDER_CREATED = "order.created"
LEDGER_ORDER_CREATED = "order_created"

_ORDER_COLUMNS = (
    "orders.order_id, orders.client_id, customer_id, item_id, quantity, status, orders.created_at"
)

# Also shown to people, who run it by hand with a customer in the place of `:customer_id`.
COUNT_EFFECTS = """\
SELECT orders.order_id, COUNT(DISTINCT ledger_id), COUNT(DISTINCT idempotency_key),
       COUNT(DISTINCT sequence)
FROM orders
LEFT JOIN ledger ON ledger.order_id = orders.order_id
LEFT JOIN idempotency_keys ON idempotency_keys.order_id = orders.order_id
LEFT JOIN events ON events.order_id = orders.order_id
WHERE orders.customer_id = :customer_id
GROUP BY orders.order_id"""


class ReadTx(AuditTx):
    """The reading statements, on one snapshot."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_claim(self, client_id: str, key: str) -> SavedClaim | None:
        """Find what was answered under a client's idempotency key."""
        row = self._one(
            "SELECT request_hash, status_code, response_body, order_id FROM idempotency_keys"
            " WHERE client_id = :client_id AND idempotency_key = :key",
            {"client_id": client_id, "key": key},
        )
        return SavedClaim(*row) if row else None

    def find_order(self, client_id: str, order_id: str) -> Order | None:
        """Find one order of one client."""
        row = self._one(
            f"SELECT {_ORDER_COLUMNS} FROM orders"  # noqa: S608 - a constant of ours
            " WHERE order_id = :order_id AND client_id = :client_id",
            {"order_id": order_id, "client_id": client_id},
        )
        return Order(*row) if row else None

    def list_orders(self, page: OrderPage) -> list[Order]:
        """List a client's orders, newest first, by the filters of `page`."""
        source = "orders"
        filters = ["orders.client_id = :client_id"]
        if page.key is not None:
            source = "idempotency_keys JOIN orders ON orders.order_id = idempotency_keys.order_id"
            filters.append("idempotency_keys.client_id = :client_id")
            filters.append("idempotency_key = :key")
        if page.customer_id is not None:
            filters.append("customer_id = :customer_id")
        if page.before is not None:
            filters.append("orders.order_id < :before")
        rows = self._execute(
            f"SELECT {_ORDER_COLUMNS} FROM {source} WHERE {' AND '.join(filters)}"  # noqa: S608 - constants of ours
            " ORDER BY orders.order_id DESC LIMIT :limit",
            _values(page),
        )
        return [Order(*row) for row in rows]

    def find_last_event(self) -> LastEvent | None:
        """Find the newest event, with which the newest order was committed."""
        row = self._one(
            "SELECT sequence, created_at FROM events ORDER BY sequence DESC LIMIT 1", {}
        )
        return LastEvent(*row) if row else None

    def list_events(self, after: int, limit: int, client_id: str | None = None) -> list[Event]:
        """List the `limit` first events after a sequence number: one client's, or everybody's.

        Writers are serialised and number their events in the order of their commits; so no snapshot
        shows an event while a smaller number is still to come.
        """
        mine = "" if client_id is None else " AND client_id = :client_id"
        rows = self._execute(
            "SELECT sequence, event_id, type, order_id, client_id, payload, created_at"  # noqa: S608 - constants of ours
            f" FROM events WHERE sequence > :after{mine} ORDER BY sequence LIMIT :limit",
            {"after": after, "limit": limit, "client_id": client_id},
        )
        return [Event(*row) for row in rows]

    def last_sequence(self) -> int:
        """Tell the last event's sequence number, of whichever client; 0 before the first."""
        (row,) = self._execute("SELECT COALESCE(MAX(sequence), 0) FROM events", {})
        return int(row[0])

    def find_relay_position(self) -> int:
        """Find the sequence number of the last event that the relay has delivered; 0 at first."""
        ((sequence,),) = self._execute("SELECT sequence FROM relay_position", {})
        return int(sequence)

    def find_relay_state(self) -> RelayState:
        """Find how far the relay is behind, and what holds it up."""
        (row,) = self._execute(
            "SELECT sequence, (SELECT COALESCE(MAX(sequence), 0) FROM events),"
            " (SELECT created_at FROM events WHERE events.sequence > relay_position.sequence"
            " ORDER BY events.sequence LIMIT 1), failures, blocked_since, blocked_reason"
            " FROM relay_position",
            {},
        )
        return RelayState(*row)

    def count_effects(self, customer_id: str) -> list[Effects]:
        """Count what each order of a customer, of whichever client, has left in each table."""
        return [Effects(*row) for row in self._execute(COUNT_EFFECTS, {"customer_id": customer_id})]

    def _one(self, sql: str, parameters: Mapping[str, object]) -> Row | None:
        # Read to the end: an unfinished cursor would hold its snapshot open.
        rows = list(self._execute(sql, parameters))
        return rows[0] if rows else None


class WriteTx(ReadTx):
    """The writing statements; all of one transaction become durable together, or none.

    Whatever it writes has one time: that of its beginning.
    """

    def __init__(self, execute: Execute) -> None:
        super().__init__(execute)
        self._now = _now()

    def insert_order(self, new: NewOrder) -> Order:
        """Store an order under a new id, greater than every id before it."""
        (newest,) = self._one("SELECT MAX(order_id) FROM orders", {}) or (None,)
        order = Order(
            order_id=uuid7.after(newest, _now_ms()),
            **_values(new),
            status="created",
            created_at=self._now,
        )
        self._execute(
            "INSERT INTO orders"
            " (order_id, client_id, customer_id, item_id, quantity, status, created_at) VALUES"
            " (:order_id, :client_id, :customer_id, :item_id, :quantity, :status, :created_at)",
            _values(order),
        )
        return order

    def insert_ledger_entry(self, order: Order) -> None:
        """Enter the creation of an order in the ledger."""
        self._execute(
            "INSERT INTO ledger (order_id, customer_id, item_id, quantity, entry_type, created_at)"
            " VALUES (:order_id, :customer_id, :item_id, :quantity, :entry_type, :created_at)",
            _values(order) | {"entry_type": LEDGER_ORDER_CREATED},
        )

    def append_event(self, event_type: str, order: Order, payload: str) -> None:
        """Append an event about an order, under the next sequence number.

        Writers are serialised, so the numbers have no gaps and follow the order of commits.
        """
        self._execute(
            "INSERT INTO events"
            " (sequence, event_id, type, order_id, client_id, payload, created_at)"
            " SELECT COALESCE(MAX(sequence), 0) + 1, :event_id, :type, :order_id, :client_id,"
            " :payload, :created_at FROM events",
            _values(order)
            | {
                "event_id": uuid7.after(order.order_id, _now_ms()),
                "type": event_type,
                "payload": payload,
            },
        )

    def save_claim(self, claim: Claim, reply: Reply) -> Reply:
        """Save a claim with its answer, for ever, and give that answer."""
        self._execute(
            "INSERT INTO idempotency_keys (client_id, idempotency_key, request_hash, status_code,"
            " response_body, order_id, created_at)"
            " VALUES (:client_id, :key, :request_hash, :status, :body, :order_id, :created_at)",
            {
                "client_id": claim.client_id,
                "key": claim.key,
                "request_hash": claim.fingerprint,
                "status": reply.status,
                "body": reply.body,
                "order_id": reply.order_id,
                "created_at": self._now,
            },
        )
        return reply

    def move_relay(self, sequence: int) -> None:
        """Note that the relay has delivered everything up to a sequence number."""
        self._execute(
            "UPDATE relay_position SET sequence = :sequence, changed_at = :now",
            {"sequence": sequence, "now": self._now},
        )

    def note_relay_failure(self, position: int, reason: str) -> None:
        """Note that the event after `position` was not taken, unless the relay is elsewhere now."""
        self._execute(
            "UPDATE relay_position SET failures = failures + 1, blocked_reason = :reason,"
            " blocked_since = COALESCE(blocked_since, :now) WHERE sequence = :position",
            {"position": position, "reason": reason, "now": self._now},
        )

    def touch_probe(self) -> None:
        """Rewrite the row that shows that writes still commit."""
        self._execute("UPDATE readiness_probe SET checked_at = :now", {"now": self._now})


def _values(record: Order | NewOrder | OrderPage) -> dict[str, Any]:
    """As `dataclasses.asdict`, but without its deep copies, which cost more than a statement."""
    return {name: getattr(record, name) for name in record.__slots__}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _now() -> str:
    """Give the time as RFC 3339 UTC with milliseconds and `Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
