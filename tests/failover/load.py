"""Clients that retry: each places one order after the other, and notes what was acknowledged."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from orderapi.client import DeadlineExceeded, OrderClient, new_key

CLIENTS = 8
# A call may take as long as several failovers.
DEADLINE_S = 120.0
_PAUSE_S = 0.005


@dataclass(frozen=True)
class Acknowledged:
    """An order whose 201 has arrived. `at_s` is a time of `time.monotonic()`."""

    key: str
    order_id: str
    at_s: float


class Load:
    """CLIENTS threads that place orders at `base_url`."""

    def __init__(self, base_url: str) -> None:
        self._client = OrderClient(base_url, deadline_s=DEADLINE_S)
        self._has_ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        self.acknowledged: list[Acknowledged] = []
        # The keys of calls without a result. Their orders may exist.
        self.unanswered: list[str] = []
        self.errors: list[Exception] = []

    def start(self) -> None:
        """Let the clients begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client finish its call, and end."""
        self._has_ended.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def longest_pause(self, since_s: float) -> tuple[float, float]:
        """Give the begin and the end of the longest time in which nothing was acknowledged."""
        times = [since_s, *sorted(each.at_s for each in self.acknowledged if each.at_s > since_s)]
        pauses = pairwise(times)
        return max(pauses, key=lambda pause: pause[1] - pause[0], default=(since_s, since_s))

    def _run(self) -> None:
        while not self._has_ended.wait(_PAUSE_S):
            key = new_key()
            try:
                # The key is in the order too, so that two orders of one key would be seen.
                order = self._client.create("failover", key, 1, key)
            except DeadlineExceeded:
                self.unanswered.append(key)
            except Exception as error:
                self.errors.append(error)
                return
            else:
                self.acknowledged.append(Acknowledged(key, order.order_id, time.monotonic()))


@contextmanager
def under_load(base_url: str) -> Iterator[Load]:
    """Place orders until the block ends."""
    load = Load(base_url)
    load.start()
    try:
        yield load
    finally:
        load.stop()
