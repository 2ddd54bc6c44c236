"""The relay: due events -> send -> record; one at a time, in the order of their commits.

An event is recorded as delivered, in a transaction of its own, once its receiver has taken it and
before the next one is sent. So a crash at any moment repeats one event at most.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn, TypeVar

from orderapi.errors import OrderApiError, StartRefused, StoreUnavailable
from orderapi.events.cloudevents import event_json
from orderapi.records import Event
from orderapi.relay.attempt import Answer, Message, Send
from orderapi.relay.blockage import Blockage
from orderapi.relay.clock import Clock
from orderapi.relay.pace import Pace
from orderapi.store.contract import Store, WriteTx

T = TypeVar("T")

# How often to look for new events when all are delivered. A look takes some 50 us.
LOOK_S = 0.05
# Read at once, so that a backlog costs few reads; a thousand bytes each.
EVENTS_MOST = 100
# `run_once` is patient with a blip, and leaves the rest to whoever runs it again.
ONCE_FAILURES_MOST = 5
ONCE_PAUSE_MOST_S = 30.0
# What the metrics are told may take so long; neither a retry nor a stop should wait for it.
NOTE_S = 1.0

_log = logging.getLogger(__name__)


class ReceiverGone(OrderApiError):
    """The receiver answered 410: it wants no more events, ever."""


class Undelivered(OrderApiError):
    """Patience has an end, and events are left."""


class PositionMoved(OrderApiError):
    """Somebody else has moved the relay's position meanwhile."""


class Relay:
    """Delivers every client's events; there must be one at a time (`service.LEASE`).

    `send` makes one attempt and never raises for what the receiver or the network does.
    """

    def __init__(self, store: Store, send: Send, clock: Clock, pace: Pace | None = None) -> None:
        self._store = store
        self._send = send
        self._clock = clock
        self._pace = pace or Pace()
        self._blockage = Blockage(clock)
        self.position = store.read(lambda tx: tx.relay.find_position())

    def go_to(self, sequence: int) -> None:
        """Make `sequence` the next event to deliver, durably, and before anything is delivered.

        Raises StartRefused if that leaves a hole after the last event, StoreUnavailable.
        """
        after = sequence - 1

        def move(tx: WriteTx) -> None:
            last = tx.events.last_sequence()
            if not 0 <= after <= last:
                raise StartRefused(f"--from: expected 1 to {last + 1}")
            tx.relay.move_to(after)

        self._store.write(move)
        _log.warning("the next event is %d by request; it was %d", sequence, self.position + 1)
        self.position = after

    def run(self) -> NoReturn:
        """Deliver what is due, and then whatever becomes due.

        Ends by raising Stopped, ReceiverGone or PositionMoved.
        """
        while True:
            if not self._deliver_due(EVENTS_MOST):
                self._clock.pause(LOOK_S)

    def run_once(self) -> int:
        """Deliver the events that there are now, and tell how many.

        Raises Undelivered when the receiver or the store fails for too long; and as `run`.
        """
        last = self._store.read(lambda tx: tx.events.last_sequence())
        delivered = 0
        while self.position < last:
            delivered += self._deliver_due(min(EVENTS_MOST, last - self.position), patient=False)
        return delivered

    def _deliver_due(self, limit: int, *, patient: bool = True) -> int:
        after = self.position
        events = self._insist(
            lambda: self._store.read(lambda tx: tx.events.list_events(after, limit)),
            patient=patient,
        )
        for event in events:
            # Whoever was told to stop does so here: between two events.
            self._clock.pause(0)
            self._deliver(event, patient=patient)
            self._insist(
                partial(self._store.write, partial(_record, self.position, event.sequence)),
                patient=patient,
            )
            self.position = event.sequence
        return len(events)

    def _deliver(self, event: Event, *, patient: bool) -> None:
        """Send one event until it is taken; whatever comes after it waits."""
        body = event_json(event)
        while not (answer := self._attempt(event, body)).is_taken:
            self._note_failure(answer.reason)
            if answer.is_gone:
                raise ReceiverGone(
                    "the receiver answered 410 Gone and gets nothing more; event"
                    f" {event.sequence} is the next one"
                )
            self._hold(
                f"event {event.sequence} is not taken",
                answer.reason,
                asked_s=answer.retry_after_s(self._clock.now()),
                waiting_from=event,
                patient=patient,
            )
        self._blockage.end()

    def _attempt(self, event: Event, body: str) -> Answer:
        answer = self._send(Message(event.event_id, body, self._clock.now()))
        _log.debug(
            "sent event %d: %s", event.sequence, answer.reason, extra={"event_id": event.event_id}
        )
        return answer

    def _note_failure(self, reason: str) -> None:
        """Let the metrics know; a store that cannot write must not stop the relay for it."""
        position, deadline = self.position, time.monotonic() + NOTE_S
        with suppress(StoreUnavailable):
            self._store.write(lambda tx: tx.relay.note_failure(position, reason), deadline)

    def _insist(self, act: Callable[[], T], *, patient: bool) -> T:
        """Do what the store cannot do now again and again."""
        failed = False
        while True:
            try:
                result = act()
            except StoreUnavailable as error:
                failed = True
                self._hold("the store cannot be used", error.reason, patient=patient)
            else:
                if failed:
                    self._blockage.end()
                return result

    def _hold(
        self,
        message: str,
        reason: str,
        *,
        patient: bool,
        asked_s: float = 0.0,
        waiting_from: Event | None = None,
    ) -> None:
        """Note a failure and pause; raises Undelivered where patience ends."""
        failures = self._blockage.failures + 1
        pause_s = self._pace.pause_s(failures, asked_s)
        self._blockage.note(message, reason, pause_s, partial(self._state, waiting_from))
        if not patient and (failures >= ONCE_FAILURES_MOST or pause_s > ONCE_PAUSE_MOST_S):
            raise Undelivered(f"{message}: {reason}; run again to go on there")
        self._clock.pause(pause_s)

    def _state(self, head: Event | None) -> dict[str, object]:
        """Say how far behind the relay is: how many events wait, and for how long the first has."""
        if head is None:
            return {}
        known: dict[str, object] = {"event_id": head.event_id, "oldest_event": head.created_at}
        try:
            known["waiting"] = (
                self._store.read(lambda tx: tx.events.last_sequence()) - self.position
            )
        except StoreUnavailable as error:
            known["waiting"] = error.reason
        return known


def _record(position: int, sequence: int, tx: WriteTx) -> None:
    """Move the position by one event; again, if it is not known whether that was done already."""
    found = tx.relay.find_position()
    if found not in (position, sequence):
        raise PositionMoved(
            f"the position is {found} and was {position}: somebody has moved it; start again"
        )
    tx.relay.move_to(sequence)
