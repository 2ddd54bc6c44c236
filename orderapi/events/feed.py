"""The feed of events: pages in the order of commits, and waiting for the next event.

Each process has one watcher. While somebody waits it looks every LOOK_S at the number of the last
event, and so sees the commits of every process; while nobody waits it does nothing. Whoever waits
holds no connection and no snapshot of the store.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from orderapi.errors import ValidationFailed
from orderapi.events import cloudevents
from orderapi.records import Event, EventPage
from orderapi.store.contract import ReadTx, Store

# A look takes some 10 us.
LOOK_S = 0.02
# Answering a reader costs about as much as an order. If all who wait were answered as soon as
# anything is committed, and came back at once, a thousand of them would leave no time for orders.
# So they are answered in rounds: a few at once, then a pause for all else, which is longer the more
# orders wait for their commit here; and as long as any does, fewer follow, but not so few that a
# round would take more than ROUND_PAUSES_MOST. After a round there is a rest as long as it took.
AT_ONCE_MOST = 8
PAUSE_S = 0.001
PAUSE_MOST_S = 0.008
ROUND_PAUSES_MOST = 512
REST_MOST_S = 0.25
# A page of a thousand events has half a megabyte.
PAGES_KEPT_MOST = 16
# A process that stops may still take connections for a moment, and would have the same readers
# back again and again if it answered those at once, too.
STOPPING_S = 0.25


class Feed:
    """Pages of events on a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_stopping: Callable[[], bool] = lambda: False
        self._stopping_since: float | None = None
        # Whoever waits, oldest first.
        self._waiting: dict[_Reader, None] = {}
        self._mutex = threading.Lock()
        self._arrival = threading.Event()
        self._watcher: threading.Thread | None = None

    def stop_when(self, is_stopping: Callable[[], bool]) -> None:
        """Answer all who wait once `is_stopping` says so, and who comes then, STOPPING_S later.

        It is asked on any thread, and often.
        """
        self._is_stopping = is_stopping

    def read(self, page: EventPage, wait_s: float) -> bytes:
        """Give a page as JSON; with `wait_s`, wait so many seconds at most for its first event.

        Raises ValidationFailed if the page begins beyond the last event, StoreUnavailable if the
        store cannot be read.
        """
        wait_until = time.monotonic() + wait_s
        seen = page.after
        while (found := self._when_there_is_more(seen, wait_until)) is not None:
            if page not in found:
                found[page] = self._read(page)
            answer = found[page]
            if answer.has_events or self._is_stopping():
                return answer.body
            # What came was another client's.
            seen = answer.last
        return self._read(page).body

    def _read(self, page: EventPage) -> "_Answer":
        def read(tx: ReadTx) -> tuple[list[Event], int]:
            events = tx.events.list_events(page.after, page.limit, page.client_id)
            return events, events[-1].sequence if events else tx.events.last_sequence()

        events, last = self._store.read(read)
        if last < page.after:
            raise ValidationFailed({"after": ["There is no event of that number yet."]})
        body = cloudevents.page_json(events, last if events else page.after)
        return _Answer(body.encode(), bool(events), len(events) == page.limit, last)

    def _when_there_is_more(self, seen: int, wait_until: float) -> "_Found | None":
        """Wait until the last event is another than `seen`.

        Gives what others found that waited for the same look, to share; None when waiting is over.
        """
        reader = _Reader(seen)
        if not self._enter(reader, wait_until):
            return None
        try:
            self._arrival.set()
            reader.released.wait(max(0.0, wait_until - time.monotonic()))
            return reader.found
        finally:
            # Also when this request is killed.
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
        except RuntimeError:  # the system gives no more threads now
            self._watcher = None
        return self._watcher is not None

    def _watch(self) -> None:
        while True:
            self._arrival.wait()
            self._arrival.clear()
            while self._waiting:
                began_at = time.monotonic()
                self._answer_who_is_due()
                self._rest(time.monotonic() - began_at)

    def _answer_who_is_due(self) -> None:
        """Do one round: release who has something to read, oldest first.

        Whoever comes, or comes back, meanwhile waits for the next round.
        """
        last, found, looked_at = self._last_sequence(), _Found(), time.monotonic()
        leave_if_since = self._leave_if_since()
        with self._mutex:
            due = deque(
                reader
                for reader in self._waiting
                if reader.seen != last or reader.since <= leave_if_since
            )
        at_once = least = math.ceil(len(due) / ROUND_PAUSES_MOST)
        while due:
            for _ in range(min(at_once, len(due))):
                due.popleft().release(found)
            orders = self._pause()
            at_once = max(least, at_once // 2 if orders else min(at_once + 1, AT_ONCE_MOST))
            if time.monotonic() - looked_at > LOOK_S:
                # What has been committed meanwhile is for the rest of them, too.
                found, looked_at = _lasting(found), time.monotonic()

    def _pause(self) -> int:
        """Let those who were released answer, then pause; tells how many orders were in hand."""
        time.sleep(0)
        orders = 0 if self._is_stopping() else self._store.writes_in_hand()
        time.sleep(min(PAUSE_S * (1 + orders), PAUSE_MOST_S))
        return orders

    def _leave_if_since(self) -> float:
        """Tell since when somebody must have waited to be answered in any case."""
        if not self._is_stopping():
            return -math.inf
        now = time.monotonic()
        if self._stopping_since is None:
            self._stopping_since = now
        return self._stopping_since if now - self._stopping_since < STOPPING_S else math.inf

    def _rest(self, round_s: float) -> None:
        rest_until = time.monotonic() + min(round_s, REST_MOST_S)
        time.sleep(LOOK_S)
        while time.monotonic() < rest_until and not self._is_stopping():
            time.sleep(LOOK_S)

    def _last_sequence(self) -> int | None:
        """Look for the last event; None if the store cannot be read."""
        try:
            # Once: nobody may wait longer than asked for because of it.
            return self._store.read(lambda tx: tx.events.last_sequence(), time.monotonic())
        except Exception:
            # Whatever it is, those who wait meet it themselves, and say so to their clients.
            return None


@dataclass(frozen=True, slots=True)
class _Answer:
    """A page as its reader gets it; `last` is the last event's number, the page's own if any."""

    body: bytes
    has_events: bool
    is_full: bool
    last: int


_Found = dict[EventPage, _Answer]


def _lasting(found: _Found) -> _Found:
    """Keep what was found last and stays as it is, for those who lag: a full page never changes."""
    full = [(page, answer) for page, answer in found.items() if answer.is_full]
    return dict(full[-PAGES_KEPT_MOST:])


class _Reader:
    """Somebody who waits until the last event is another than `seen`."""

    __slots__ = ("found", "released", "seen", "since")

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self.since = time.monotonic()
        self.found: _Found | None = None
        self.released = threading.Event()

    def release(self, found: _Found) -> None:
        """Let it go on, and share what others find that wait as it does."""
        self.found = found
        self.released.set()
