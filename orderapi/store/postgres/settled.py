"""Which events no failover can lose. The feed and the relay deliver these events, and no others.

A COMMIT waits for the synchronous standby. This wait can end early: an operator cancels it, or the
primary crashes and starts again. The order is then visible, but the standby may never get it. The
request was not answered with success. After a failover, a different event may get the number of
this order's event. A reader that has seen the first event would then never see the second one.
"""

import threading
import time
from collections.abc import Callable
from functools import partial

from orderapi.errors import StoreUnavailable
from orderapi.records import Event
from orderapi.store.contract import ANSWER_MAX_S, REQUEST_TIME_S
from orderapi.store.postgres.readers import READ_MIN_S
from orderapi.store.postgres.writes import Writes
from orderapi.store.statements.transaction import WriteTx

# How long a reader waits until its newest events are settled. It then gets the ones before.
SETTLE_MAX_S = 0.8
assert REQUEST_TIME_S + READ_MIN_S + SETTLE_MAX_S < ANSWER_MAX_S
# How often the server is asked whether its COMMIT waits for a standby.
ASK_EVERY_S = 10.0


class SettledEvents:
    """The events that are on the standby, as far as this process knows.

    `waits_for_standby()` asks the server whether its COMMIT waits for a standby. `safe_sequence()`
    gives the attribute of `Placements` with that name.
    """

    def __init__(
        self,
        writes: Writes,
        waits_for_standby: Callable[[], bool],
        safe_sequence: Callable[[], int],
    ) -> None:
        self._writes = writes
        self._ask = waits_for_standby
        self._safe_sequence = safe_sequence
        self._sequence = 0
        self._settling = threading.Lock()
        self._failed_at = float("-inf")
        self._asked_at = float("-inf")
        self._waits_for_standby = True

    def select(self, events: list[Event]) -> list[Event]:
        """See `contract.Store.settled_events`."""
        if not events or events[-1].sequence <= self._settled_sequence() or not self._has_standby():
            return events
        self._settle(events[-1])
        return [event for event in events if event.sequence <= self._settled_sequence()]

    def _settled_sequence(self) -> int:
        return max(self._sequence, self._safe_sequence())

    def _has_standby(self) -> bool:
        if time.monotonic() - self._asked_at > ASK_EVERY_S:
            self._waits_for_standby = self._ask()
            self._asked_at = time.monotonic()
        return self._waits_for_standby

    def _settle(self, event: Event) -> None:
        """Commit something after the event: a standby that has this also has the event."""
        deadline = time.monotonic() + SETTLE_MAX_S
        if not self._settling.acquire(timeout=SETTLE_MAX_S):
            return
        try:
            if event.sequence <= self._settled_sequence() or self._has_just_failed():
                return
            if self._writes.run(partial(_touch_if_there, event), deadline):
                self._sequence = event.sequence
        except StoreUnavailable:
            self._failed_at = time.monotonic()
        finally:
            self._settling.release()

    def _has_just_failed(self) -> bool:
        return time.monotonic() - self._failed_at < SETTLE_MAX_S


def _touch_if_there(event: Event, tx: WriteTx) -> bool:
    """Write something. The result is False if this server, after a failover, lacks the event."""
    tx.probe.touch()
    return tx.events.list_events(event.sequence - 1, 1) == [event]
