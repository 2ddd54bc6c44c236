"""Reads the values of the page `/now`: counts over time, the newest orders, relay and database."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from importlib.metadata import version

from orderapi import uuid7
from orderapi.errors import StoreUnavailable
from orderapi.maintenance_records import LastAudit, LastBackup, StoreUsage
from orderapi.records import Order, OrderRange, RelayState
from orderapi.store.contract import ReadTx, Store

NEWEST_ORDERS = 12
MINUTES, HOURS = 60, 48
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000
# The rate of the relay is measured between two views of the page. These are the maximum and the
# minimum time between the two views.
RATE_MAX_S, RATE_MIN_S = 300.0, 1.0


@dataclass(frozen=True, slots=True)
class Count:
    """How many orders were made from a time on (Unix time in milliseconds)."""

    start_ms: int
    orders: int


@dataclass(frozen=True, slots=True)
class Now:
    """The values of the page. `usage` is None if the size of the store is not known."""

    minutes: list[Count]
    hours: list[Count]
    orders_of_a_day: int
    last_sequence: int
    newest: list[Order]
    relay: RelayState
    relay_rate: float | None
    backup: LastBackup
    audit: LastAudit | None
    usage: StoreUsage | None
    release: str
    schema: int

    @property
    def bytes_per_order(self) -> float | None:
        """How many bytes of the database an order takes, with everything that belongs to it."""
        if self.usage is None or not self.last_sequence:
            return None
        return self.usage.database_bytes / self.last_sequence

    @property
    def days_left(self) -> float | None:
        """After how many days the disk is full, at the rate of the last 24 hours."""
        free_bytes = self.usage.free_bytes if self.usage else None
        if free_bytes is None or not self.bytes_per_order or not self.orders_of_a_day:
            return None
        return free_bytes / (self.bytes_per_order * self.orders_of_a_day)

    @property
    def waiting(self) -> int:
        """How many events the relay has not delivered."""
        return max(0, self.last_sequence - self.relay.position)


class RelayRate:
    """How fast the relay delivers, measured between the views of one console.

    The store keeps only the position of the relay, so the rate is not known at the first view. Any
    thread may call `note`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, position: int, now_s: float) -> float | None:
        """Store a position, and return the events per second since the oldest stored view.

        `now_s` is a time of `time.monotonic()` in seconds.
        """
        with self._lock:
            while self._seen and now_s - self._seen[0][0] > RATE_MAX_S:
                self._seen.popleft()
            oldest = self._seen[0] if self._seen else (now_s, position)
            if not self._seen or now_s - self._seen[-1][0] >= RATE_MIN_S:
                self._seen.append((now_s, position))
        passed_s = now_s - oldest[0]
        return None if passed_s < RATE_MIN_S else (position - oldest[1]) / passed_s


def read_now(store: Store, rate: RelayRate, now_ms: int) -> Now:
    """Read everything that the page shows, in one snapshot.

    `now_ms` is the Unix time in milliseconds. Raises StoreUnavailable if the store cannot be read.
    """
    usage = _usage(store)
    return store.read(lambda tx: read_in(tx, usage, rate, now_ms))


def read_in(tx: ReadTx, usage: StoreUsage | None, rate: RelayRate, now_ms: int) -> Now:
    """Read everything that the page shows in a snapshot. `usage` is None if it is not known."""
    relay = tx.relay.find_state()
    last = relay.last_sequence
    (day_ago,) = _firsts(tx, [now_ms - _DAY_MS], last)
    return Now(
        _counts(tx, now_ms, _MINUTE_MS, MINUTES, last),
        _counts(tx, now_ms, _HOUR_MS, HOURS, last),
        last + 1 - day_ago,
        last,
        tx.lookup.list_orders(OrderRange(NEWEST_ORDERS)),
        relay,
        rate.note(relay.position, time.monotonic()),
        tx.backups.find_last(),
        tx.last_audit.find(),
        usage,
        version("orderapi"),
        tx.lookup.schema_number(),
    )


def _counts(tx: ReadTx, now_ms: int, step_ms: int, steps: int, last: int) -> list[Count]:
    """Count the orders of each step of time. The last step is the one that has not ended."""
    first_ms = now_ms // step_ms * step_ms - (steps - 1) * step_ms
    starts_ms = [first_ms + step * step_ms for step in range(steps + 1)]
    firsts = _firsts(tx, starts_ms, last)
    return [
        Count(start_ms, end - start)
        for start_ms, start, end in zip(starts_ms, firsts, firsts[1:], strict=False)
    ]


def _firsts(tx: ReadTx, times_ms: list[int], last: int) -> list[int]:
    """Return the number of the first event at or after each time, or the number after the last.

    Order ids begin with their time, and event numbers have no gaps.
    """
    found = tx.lookup.list_first_sequences([uuid7.first_of(ms) for ms in times_ms])
    return [last + 1 if sequence is None else sequence for sequence in found]


def _usage(store: Store) -> StoreUsage | None:
    try:
        return store.usage()
    except StoreUnavailable:
        return None
