"""Events, numbered in the order of the commits."""

from orderapi import uuid7
from orderapi.records import Event, LastEvent, Order
from orderapi.store.statements.by_client import of_client
from orderapi.store.statements.columns import EVENTS, insert_statement, select_list
from orderapi.store.statements.execution import Execute, one_row
from orderapi.store.statements.numbers import Numbers
from orderapi.store.statements.timestamp import now_ms

_COLUMNS = select_list("events", EVENTS)
_INSERT = insert_statement("events", EVENTS)


class EventReads:
    """The statements that read the events."""

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
        mine = "" if client_id is None else f" AND {of_client(client_id)}"
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
    """The statements that read and write the events. A transaction numbers them with `numbers`."""

    def __init__(self, execute: Execute, numbers: Numbers) -> None:
        super().__init__(execute)
        self._numbers = numbers

    def append_event(
        self, event_type: str, order: Order, payload: str, traceparent: str | None = None
    ) -> None:
        """Append an event about an order, under the next sequence number.

        Writers are serialised. Therefore the numbers have no gaps and follow the order of commits.
        """
        sequence = self._numbers.next_sequence()
        self._execute(
            _INSERT,
            (
                sequence,
                uuid7.after(order.order_id, now_ms()),
                event_type,
                order.order_id,
                order.client_id,
                payload,
                order.created_at,
                traceparent,
            ),
        )
        self._numbers.note_event(sequence)
