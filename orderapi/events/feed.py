"""The feed of events: pages in the order of the commits, and the wait for the next event.

Each process has one thread that watches for new events. While at least one reader waits, this
watcher polls the store for the number of the last event. So it sees the commits of all processes.
While no reader waits, it does nothing. A waiting reader holds no connection to the store, and no
snapshot of it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from orderapi.errors import StoreUnavailable, TooManyWaiting, ValidationFailed
from orderapi.events import cloudevents, pacing
from orderapi.events.places import Places
from orderapi.records import Event, EventPage
from orderapi.store.contract import ReadTx, Store

# The memory for these pages is limited: a page of a thousand events has half a megabyte.
_KEPT_MAX_PAGES = 16


class Feed:
    """Pages of events from a store.

    `places` limits how many requests wait for the next event. The default is for one client.
    """

    def __init__(self, store: Store, places: Places | None = None) -> None:
        self._store = store
        self.places = places or Places(has_several_clients=False)
        self._is_stopping: Callable[[], bool] = lambda: False
        self._stop = pacing.Stop()
        # The waiting readers. The first one has waited longest.
        self._waiting: dict[_Reader, None] = {}
        self._mutex = threading.Lock()
        self._arrival = threading.Event()
        self._watcher: threading.Thread | None = None

    def stop_when(self, is_stopping: Callable[[], bool]) -> None:
        """Answer all waiting readers as soon as `is_stopping()` is true.

        A reader that arrives later is answered after `pacing.STOP_DELAY_S`. `is_stopping` is called
        on any thread, and often.
        """
        self._is_stopping = is_stopping

    def waiting_readers(self) -> int:
        """Return how many readers of this process wait for the next event."""
        return len(self._waiting)

    def read(self, page: EventPage, wait_s: float) -> bytes:
        """Return a page as JSON.

        If the page is empty, wait for its first event, for at most `wait_s` seconds.

        Raises ValidationFailed if the page begins beyond the last event, StoreUnavailable if the
        store cannot be read, and TooManyWaiting if the page is empty and no place is free.
        """
        if wait_s <= 0:
            return self._read(page).body
        try:
            with self.places.taken_by(page.client_id):
                return self._read_or_wait(page, time.monotonic() + wait_s)
        except TooManyWaiting:
            # A reader gets events that already exist even if it may not wait. So it always makes
            # progress.
            encoded = self._read(page)
            if encoded.has_events:
                return encoded.body
            raise

    def _read_or_wait(self, page: EventPage, wait_until: float) -> bytes:
        seen = page.after
        while (shared := self._wait_for_another(seen, wait_until)) is not None:
            encoded = shared.setdefault(page, _SharedPage()).get(partial(self._read, page))
            if encoded.has_events or self._is_stopping():
                return encoded.body
            # The new events belong to other clients.
            seen = encoded.last
        return self._read(page).body

    def _read(self, page: EventPage) -> "_EncodedPage":
        def read(tx: ReadTx) -> tuple[list[Event], int]:
            events = tx.events.list_events(page.after, page.limit, page.client_id)
            return events, events[-1].sequence if events else tx.events.last_sequence()

        events, last = self._store.read(read)
        if last < page.after:
            raise ValidationFailed({"after": ["There is no event with this number yet."]})
        settled = self._store.settled_events(events)
        if len(settled) < len(events):
            events, last = settled, settled[-1].sequence if settled else page.after
        body = cloudevents.page_json(events, last if events else page.after)
        return _EncodedPage(body.encode(), bool(events), len(events) == page.limit, last)

    def _wait_for_another(self, seen: int, wait_until: float) -> "_SharedPages | None":
        """Wait until the number of the last event differs from `seen`.

        Returns the pages that the readers of one round share, or None if there was no new event in
        time.
        """
        reader = _Reader(seen)
        if not self._enter(reader, wait_until):
            return None
        try:
            self._arrival.set()
            reader.released.wait(max(0.0, wait_until - time.monotonic()))
            return reader.shared
        finally:
            # This also runs if the server kills the request.
            with self._mutex:
                self._waiting.pop(reader, None)

    def _enter(self, reader: "_Reader", wait_until: float) -> bool:
        if time.monotonic() >= wait_until:
            return False
        with self._mutex:
            if self._watcher is None and not self._start():
                return False
            self._waiting[reader] = None
        return True

    def _start(self) -> bool:
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        try:
            self._watcher.start()
        except RuntimeError:  # the operating system refuses a new thread now
            self._watcher = None
        return self._watcher is not None

    def _watch(self) -> None:
        while True:
            self._arrival.wait()
            self._arrival.clear()
            while self._waiting:
                began_at = time.monotonic()
                self._answer_due_readers()
                self._rest(time.monotonic() - began_at)

    def _answer_due_readers(self) -> None:
        """Do one round: release the readers that have something to read, in the order of arrival.

        A reader that arrives during a round waits for the next round.
        """
        last, shared, polled_at = self._last_sequence(), _SharedPages(), time.monotonic()
        cutoff = self._stop.cutoff(self._is_stopping(), polled_at)
        with self._mutex:
            due = deque(
                reader for reader in self._waiting if reader.seen != last or reader.since <= cutoff
            )
        pace = pacing.Round(len(due))
        while due:
            for _ in range(min(pace.group, len(due))):
                due.popleft().release(shared)
            pace.adapt(self._pause())
            if time.monotonic() - polled_at > self._store.poll_interval_s:
                # The remaining readers also get the events that were committed in the meantime.
                shared, polled_at = _lasting(shared), time.monotonic()

    def _pause(self) -> int:
        """Let the released readers answer, then pause. Return how many orders wait for a commit."""
        time.sleep(0)
        orders = 0 if self._is_stopping() else self._store.writes_in_hand()
        time.sleep(pacing.pause_s(orders))
        return orders

    def _rest(self, round_s: float) -> None:
        interval_s = self._store.poll_interval_s
        rest_until = time.monotonic() + pacing.rest_s(round_s, interval_s)
        time.sleep(interval_s)
        # When the process stops, the pause ends early.
        while time.monotonic() < rest_until and not self._is_stopping():
            time.sleep(interval_s)

    def _last_sequence(self) -> int | None:
        """Read the number of the last event. None if the store cannot be read."""
        try:
            # The deadline is now, so that no reader waits longer than it asked for.
            return self._store.read_one(lambda tx: tx.events.last_sequence(), time.monotonic())
        except Exception:
            # The released readers read the store again. If it still fails, they report the failure.
            return None


@dataclass(frozen=True, slots=True)
class _EncodedPage:
    """The bytes of a page, and what is known about it.

    `last` is the number of the page's last event, or of the store's last event if the page is
    empty.
    """

    body: bytes
    has_events: bool
    is_full: bool
    last: int


class _SharedPage:
    """One page of events that several readers have requested at the same time.

    The first reader asks the store for the page. The other readers wait, and get the same page.

    Without this, a thousand readers would read the same page at the same time. On PostgreSQL, where
    a read lets other readers run, they would wait for the few connections.
    """

    __slots__ = ("_failure", "_reading", "encoded")

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._failure: StoreUnavailable | None = None
        self.encoded: _EncodedPage | None = None

    def get(self, read: Callable[[], _EncodedPage]) -> _EncodedPage:
        """Return the page. Raises StoreUnavailable if its read has failed, for every reader."""
        with self._reading:
            if self._failure is not None:
                raise self._failure.copy()
            if self.encoded is None:
                try:
                    self.encoded = read()
                except StoreUnavailable as failure:
                    self._failure = failure
                    raise
            return self.encoded


_SharedPages = dict[EventPage, _SharedPage]


def _lasting(shared: _SharedPages) -> _SharedPages:
    """Return the newest full pages, for readers that are behind. A full page never changes."""
    # A reader on another thread may add a page meanwhile.
    found = list(shared.items())
    full = [(page, each) for page, each in found if each.encoded and each.encoded.is_full]
    return dict(full[-_KEPT_MAX_PAGES:])


class _Reader:
    """A request that waits until the number of the last event differs from `seen`."""

    __slots__ = ("released", "seen", "shared", "since")

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self.since = time.monotonic()
        self.shared: _SharedPages | None = None
        self.released = threading.Event()

    def release(self, shared: _SharedPages) -> None:
        """End the wait, and give the pages that readers of this round share."""
        self.shared = shared
        self.released.set()
