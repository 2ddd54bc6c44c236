"""Limits how many requests wait for events in one process, and how many of them a client may have.

A waiting request uses a connection and 16 KiB of memory for up to 30 s. Without a maximum, the
readers of events could use all connections of a worker, and then no client could send an order.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from orderapi.errors import TooManyWaiting

# The memory of this many readers is 32 MB. A worker with few connections has fewer places.
WAITING_MAX_READERS = 2_000
# With tokens, one client may have at most this part of the places of a process, so that places are
# left for other clients. Without tokens, all callers are one client.
CLIENT_PLACES_MAX_SHARE = 0.25


class Places:
    """The places of one process. `has_several_clients` says whether clients must share them."""

    def __init__(self, *, has_several_clients: bool) -> None:
        self._has_several_clients = has_several_clients
        self._taken: Counter[str] = Counter()
        self._mutex = threading.Lock()
        self.set_maximum(WAITING_MAX_READERS)

    def set_maximum(self, places: int) -> None:
        """Set the maximum number of requests that wait at the same time."""
        self._places_max = places
        share = CLIENT_PLACES_MAX_SHARE if self._has_several_clients else 1
        self._client_places_max = max(1, int(places * share))

    @contextmanager
    def taken_by(self, client_id: str) -> Iterator[None]:
        """Take a place while the `with` block runs.

        Raises TooManyWaiting if no place is free, or if the client has its whole share of them.
        """
        self._take(client_id)
        try:
            yield
        finally:
            # This also runs if the server kills the request.
            with self._mutex:
                self._taken[client_id] -= 1
                if not self._taken[client_id]:
                    del self._taken[client_id]

    def _take(self, client_id: str) -> None:
        with self._mutex:
            is_full = self._taken.total() >= self._places_max
            if is_full or self._taken[client_id] >= self._client_places_max:
                raise TooManyWaiting
            self._taken[client_id] += 1
