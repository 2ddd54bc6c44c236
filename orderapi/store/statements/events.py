"""Events, numbered in the order of the commits."""

from orderapi import uuid7
from orderapi.records import Event, LastEvent, Order
from orderapi.store.statements.execution import Execute, one_row, values_of
from orderapi.store.statements.timestamp import now_ms

# In the order of the fields of `records.Event`.
_COLUMNS = "sequence, event_id, type, order_id, client_id, payload, created_at, traceparent"


class EventReads:
    """What is read of the events."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_last_event(self) -> LastEvent | None:
        """Find the newest event, with which the newest order was committed."""
        row = one_row(
            self._execute(
                "SELECT sequence, created_at FROM events ORDER BY sequence DESC LIMIT 1", {}
            )
        )
        return LastEvent(*row) if row else None

    def list_events(self, after: int, limit: int, client_id: str | None = None) -> list[Event]:
        """List the first `limit` events after a sequence number, of one client or of all clients.

        Writers are serialised and number their events in the order of their commits. Therefore no
        snapshot shows an event while a smaller number is still to come.
        """
        mine = "" if client_id is None else " AND client_id = :client_id"
        rows = self._execute(
            f"SELECT {_COLUMNS}"  # noqa: S608 - constants of ours
            f" FROM events WHERE sequence > :after{mine} ORDER BY sequence LIMIT :limit",
            {"after": after, "limit": limit, "client_id": client_id},
        )
        return [Event(*row) for row in rows]

    def last_sequence(self) -> int:
        """Give the sequence number of the last event of any client; 0 before the first event."""
        ((sequence,),) = self._execute("SELECT COALESCE(MAX(sequence), 0) FROM events", {})
        return int(sequence)


class EventWrites(EventReads):
    """What is read and written of the events."""

    def append_event(
        self, event_type: str, order: Order, payload: str, traceparent: str | None = None
    ) -> None:
        """Append an event about an order, under the next sequence number.

        Writers are serialised. Therefore the numbers have no gaps and follow the order of commits.
        """
        self._execute(
            "INSERT INTO events"
            " (sequence, event_id, type, order_id, client_id, payload, created_at, traceparent)"
            " VALUES (:sequence, :event_id, :type, :order_id, :client_id, :payload, :created_at,"
            " :traceparent)",
            values_of(order)
            | {
                "sequence": self.last_sequence() + 1,
                "event_id": uuid7.after(order.order_id, now_ms()),
                "type": event_type,
                "payload": payload,
                "traceparent": traceparent,
            },
        )
