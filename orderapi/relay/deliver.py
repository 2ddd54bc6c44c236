"""Reads the next events, sends each of them, and records it as delivered.

The relay delivers one event at a time, in the order of the commits. When the receiver has
acknowledged an event, the relay records it as delivered, in a transaction of its own. Only then
does it send the next event. Therefore at most one event is sent again after a crash.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn, TypeVar

from orderapi.errors import OrderApiError, StartRefused, StoreUnavailable
from orderapi.events.cloudevents import event_json
from orderapi.records import Event, Lease
from orderapi.relay.attempt import Message, Outcome, Send
from orderapi.relay.clock import Clock
from orderapi.relay.consecutive_failures import ConsecutiveFailures
from orderapi.relay.retry_pause import Backoff
from orderapi.store.contract import Store, WriteTx
from orderapi.trace_context import trace_id

T = TypeVar("T")

# Only the relay that has this lease may deliver.
LEASE = "relay"
# How often a relay that has nothing to deliver renews its lease. A relay that has lost it ends.
IDLE_CONFIRM_S = 2.0
# How often the relay polls for new events when it has delivered all. A poll takes about 50
# microseconds.
POLL_S = 0.05
# The maximum number of events in one read. With it, a backlog needs few reads. An event has about a
# thousand bytes.
EVENTS_MAX = 100
# `run_once` gives up after this many failures in a row, or before a pause that is longer than
# ONCE_PAUSE_MAX_S. Its next run continues with the same event.
ONCE_FAILURES_MAX = 5
ONCE_PAUSE_MAX_S = 30.0
# The store has this much time to record a failure for the metrics. A retry or a stop waits for it.
RECORD_FAILURE_MAX_S = 1.0
LEASE_LOST = (
    "the relay stops because another relay delivers now; that relay took over while this one did"
    " not run, or could not write to the store"
)

_log = logging.getLogger(__name__)


class ReceiverGone(OrderApiError):
    """The receiver answered 410: it wants no more events."""


class Undelivered(OrderApiError):
    """`run_once` has given up before it delivered all events."""


class PositionMoved(OrderApiError):
    """Another process has changed the position of the relay."""


class LeaseLost(OrderApiError):
    """Another relay delivers now."""


class Relay:
    """Delivers the events of all clients. Only the relay that has the lease LEASE may do so.

    `send` makes one attempt. It never raises for a failure of the receiver or of the network.
    """

    def __init__(
        self, store: Store, send: Send, clock: Clock, backoff: Backoff | None = None
    ) -> None:
        self._store = store
        self._send = send
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._failures = ConsecutiveFailures(clock)
        self._confirmed_at_s = float("-inf")
        self.position = store.read(lambda tx: tx.relay.find_position())

    def seek(self, sequence: int) -> None:
        """Make `sequence` the next event to deliver. This is durable before any event is sent.

        Raises StartRefused if that event would leave a gap after the last event, LeaseLost if
        another relay delivers, and StoreUnavailable if the store cannot be written.
        """
        after = sequence - 1
        lease = self._confirm_lease()

        def move(tx: WriteTx) -> None:
            _refuse_without(lease, tx)
            last = tx.events.last_sequence()
            if not 0 <= after <= last:
                raise StartRefused(f"--from: expected 1 to {last + 1}")
            tx.relay.move_to(after)

        self._store.write(move)
        _log.warning(
            "--from: event %d is the next event to deliver; it was event %d",
            sequence,
            self.position + 1,
        )
        self.position = after

    def run(self) -> NoReturn:
        """Deliver the events that exist, and then each new event.

        It ends only by raising Stopped, ReceiverGone, PositionMoved or LeaseLost.
        """
        while True:
            if not self._deliver_next(EVENTS_MAX):
                self._clock.pause(POLL_S)
                if self._clock.monotonic() - self._confirmed_at_s > IDLE_CONFIRM_S:
                    self._retry_store(self._confirm_lease)

    def run_once(self) -> int:
        """Deliver the events that exist at this moment, and return their number.

        Raises Undelivered when the receiver or the store fails for too long, and the exceptions of
        `run`.
        """
        last = self._store.read(lambda tx: tx.events.last_sequence())
        delivered = 0
        while self.position < last:
            delivered += self._deliver_next(min(EVENTS_MAX, last - self.position), gives_up=True)
        return delivered

    def _deliver_next(self, limit: int, *, gives_up: bool = False) -> int:
        events = self._retry_store(partial(self._next_events, limit), gives_up=gives_up)
        for event in events:
            # A stop takes effect here, between two events.
            self._clock.pause(0)
            lease = self._deliver(event, gives_up=gives_up)
            record = partial(_record_delivered, lease, self.position, event.sequence)
            self._retry_store(partial(self._store.write, record), gives_up=gives_up)
            self.position = event.sequence
        return len(events)

    def _next_events(self, limit: int) -> list[Event]:
        after = self.position
        events = self._store.read(lambda tx: tx.events.list_events(after, limit))
        settled = self._store.settled_events(events)
        if events and not settled:
            raise StoreUnavailable(f"event {events[0].sequence} is not on a standby yet")
        return settled

    def _confirm_lease(self) -> Lease:
        """Renew the lease and return it. Another relay may have it after a pause of this process.

        Raises LeaseLost if another relay has the lease, and StoreUnavailable if the store fails.
        """
        lease = self._store.lease(LEASE)
        self._confirmed_at_s = self._clock.monotonic()
        if lease is None:
            raise LeaseLost(LEASE_LOST)
        return lease

    def _deliver(self, event: Event, *, gives_up: bool) -> Lease:
        """Send one event until the receiver acknowledges it. All later events wait.

        Returns the lease under which it was delivered. Raises ReceiverGone if the receiver wants no
        more events, LeaseLost if another relay delivers, and Undelivered as `run_once` says.
        """
        body = event_json(event)
        while True:
            lease = self._retry_store(self._confirm_lease, gives_up=gives_up)
            outcome = self._attempt(event, body)
            if outcome.is_delivered:
                self._failures.reset()
                return lease
            self._record_failure(lease, outcome.reason)
            if outcome.is_gone:
                raise ReceiverGone(
                    "the relay stops because the receiver answered 410 Gone; event"
                    f" {event.sequence} is the next one to deliver"
                )
            self._pause_after_failure(
                f"event {event.sequence} was not delivered",
                outcome.reason,
                asked_s=outcome.retry_after_s(self._clock.now()),
                waiting_from=event,
                gives_up=gives_up,
            )

    def _attempt(self, event: Event, body: str) -> Outcome:
        message = Message(event.event_id, body, self._clock.now(), event.traceparent)
        outcome = self._send(message)
        _log.debug("sent event %d: %s", event.sequence, outcome.reason, extra=_ids(event))
        return outcome

    def _record_failure(self, lease: Lease, reason: str) -> None:
        """Record a failure for the metrics. The relay continues if the store cannot be written."""
        deadline = time.monotonic() + RECORD_FAILURE_MAX_S
        record = partial(_record_failed, lease, self.position, reason)
        with suppress(StoreUnavailable):
            self._store.write(record, deadline)

    def _retry_store(self, act: Callable[[], T], *, gives_up: bool = False) -> T:
        """Call `act`, and repeat the call while the store is unavailable."""
        failed = False
        while True:
            try:
                result = act()
            except StoreUnavailable as error:
                failed = True
                self._pause_after_failure(
                    "the store is unavailable", error.reason, gives_up=gives_up
                )
            else:
                if failed:
                    self._failures.reset()
                return result

    def _pause_after_failure(
        self,
        message: str,
        reason: str,
        *,
        gives_up: bool,
        asked_s: float = 0.0,
        waiting_from: Event | None = None,
    ) -> None:
        """Log a failure, and wait before the next attempt.

        Raises Undelivered if `gives_up` is true and there were too many failures in a row.
        """
        failures = self._failures.count + 1
        pause_s = self._backoff.pause_s(failures, asked_s)
        self._failures.add(message, reason, pause_s, partial(self._backlog, waiting_from))
        if gives_up and (failures >= ONCE_FAILURES_MAX or pause_s > ONCE_PAUSE_MAX_S):
            raise Undelivered(f"{message}: {reason}; the next run continues from there")
        self._clock.pause(pause_s)

    def _backlog(self, first: Event | None) -> dict[str, object]:
        """Return the log fields that describe the backlog, of which `first` is the oldest event."""
        if first is None:
            return {}
        fields: dict[str, object] = {**_ids(first), "oldest_event": first.created_at}
        try:
            fields["waiting"] = (
                self._store.read(lambda tx: tx.events.last_sequence()) - self.position
            )
        except StoreUnavailable as error:
            fields["waiting"] = error.reason
        return fields


def _ids(event: Event) -> dict[str, str]:
    """Return the log fields that identify an event and its trace."""
    if event.traceparent is None:
        return {"event_id": event.event_id}
    return {"event_id": event.event_id, "trace_id": trace_id(event.traceparent)}


def _refuse_without(lease: Lease, tx: WriteTx) -> None:
    """Raise LeaseLost if another relay has taken the lease. Then the transaction is undone."""
    if not tx.leases.renew(lease):
        raise LeaseLost(LEASE_LOST)


def _record_failed(lease: Lease, position: int, reason: str, tx: WriteTx) -> None:
    """Record a failure to deliver the event after `position`.

    Raises LeaseLost if another relay has taken the lease.
    """
    _refuse_without(lease, tx)
    tx.relay.note_failure(position, reason)


def _record_delivered(lease: Lease, position: int, sequence: int, tx: WriteTx) -> None:
    """Move the position by one event. It may be repeated when it is unknown whether it committed.

    Raises LeaseLost if another relay delivers, and PositionMoved if another process has changed the
    position.
    """
    _refuse_without(lease, tx)
    found = tx.relay.find_position()
    if found not in (position, sequence):
        raise PositionMoved(
            f"the relay stops because another process has changed its position from {position} to"
            f" {found}; start it again to continue from there"
        )
    tx.relay.move_to(sequence)
