"""The story of an order: everything that is stored about it, in one snapshot."""

from dataclasses import dataclass

from orderapi.ops.proof import Check, prove_order
from orderapi.records import Event, IdempotencyRecord, LedgerEntry, Order, RelayState
from orderapi.store.contract import ReadTx
from orderapi.trace_context import trace_id


@dataclass(frozen=True, slots=True)
class Delivery:
    """Whether an event was delivered to the webhook.

    `state` is `delivered`, `next` (the relay works on it), `blocked` (attempts have failed) or
    `waiting`. `ahead` is how many events the relay delivers before this one. `relay` is the state
    of the relay in the same snapshot.
    """

    state: str
    ahead: int
    relay: RelayState


@dataclass(frozen=True, slots=True)
class Story:
    """One order and its rows. In a damaged database, a list may be empty or have several rows.

    `shared_traces` are the ids of the traces in which other orders were made too.
    """

    order: Order
    idempotency_records: list[IdempotencyRecord]
    ledger: list[LedgerEntry]
    events: list[Event]
    delivery: Delivery | None
    before: Event | None
    after: Event | None
    shared_traces: list[str]
    checks: list[Check]

    @property
    def trace_ids(self) -> list[str]:
        """The traces of the requests that made the order."""
        return _trace_ids(self.events)

    @property
    def failed(self) -> list[Check]:
        """The checks that have findings."""
        return [check for check in self.checks if check.findings]


def read_story(tx: ReadTx, order_id: str) -> Story | None:
    """Read the story of an order. None if there is no such order."""
    order = tx.lookup.find_order(order_id)
    if order is None:
        return None
    events = tx.lookup.list_events_of_order(order_id)
    sequence = events[0].sequence if events else None
    return Story(
        order,
        tx.lookup.list_idempotency_records_of_order(order_id),
        tx.lookup.list_ledger_of_order(order_id),
        events,
        None if sequence is None else _delivery(tx.relay.find_state(), sequence),
        None if sequence is None else tx.lookup.find_event(sequence - 1),
        None if sequence is None else tx.lookup.find_event(sequence + 1),
        [each for each in _trace_ids(events) if _is_shared(tx, each, order_id)],
        prove_order(tx, order_id),
    )


def _trace_ids(events: list[Event]) -> list[str]:
    return [trace_id(event.traceparent) for event in events if event.traceparent]


def _is_shared(tx: ReadTx, trace: str, order_id: str) -> bool:
    return any(event.order_id != order_id for event in tx.lookup.list_events_of_trace(trace))


def _delivery(relay: RelayState, sequence: int) -> Delivery:
    ahead = max(0, sequence - relay.position - 1)
    if sequence <= relay.position:
        state = "delivered"
    elif ahead:
        state = "waiting"
    else:
        state = "blocked" if relay.failures else "next"
    return Delivery(state, ahead, relay)
