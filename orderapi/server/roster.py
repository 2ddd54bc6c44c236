"""All connections of a worker by what they wait for, and the clock that limits on time go by."""

import time
from typing import Protocol

from orderapi.server.limits import LINGER_S, SWEEP_LATE_MAX_S


class Listed(Protocol):
    """What the roster needs of a connection."""

    def read(self) -> None:
        """Read what has arrived, if anything has."""

    def judge(self) -> None:
        """End the connection if one of its limits on time is over."""

    def let_go(self) -> bool:
        """Close the connection if it is idle and nothing has arrived on it; tell whether it was."""

    def is_slow_head(self) -> bool:
        """Tell whether the connection waits for the rest of a head."""

    def close(self) -> None:
        """Close the connection at once."""


class Roster:
    """The connections of one worker.

    `idle` has those that wait for a request, the longest idle one first. `timed` has those that
    wait for their client in the middle of something. A connection whose request the app handles is
    in `all` alone, and no limit on time applies to it.
    """

    def __init__(self, connections_max: int) -> None:
        self.connections_max = connections_max
        self.all: set[Listed] = set()
        self.idle: dict[Listed, float] = {}
        self.timed: dict[Listed, None] = {}
        # The seconds for which this process has been running. While it was stopped, or had no
        # processor, it could not read, and no client is to blame for silence in that time.
        self.clock_s = 0.0
        self._swept_at = time.monotonic()
        self.stopping_since_s: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the worker ends as soon as its requests are answered."""
        return self.stopping_since_s is not None

    def stop(self) -> None:
        """Note that the worker is to end."""
        if self.stopping_since_s is None:
            self.stopping_since_s = self.clock_s

    def make_room(self) -> bool:
        """Make room for a new connection; tell whether there is some.

        The longest idle connection gives way, then the oldest whose head is not whole yet. A
        request that is being read or answered never does.
        """
        while len(self.all) >= self.connections_max:
            if not self.close_longest_idle():
                return False
        return True

    def close_longest_idle(self) -> bool:
        """Close the connection that can best be spared; tell whether there was one."""
        for connection in list(self.idle):
            if connection.let_go():
                return True
        for connection in list(self.timed):
            if connection.is_slow_head():
                connection.close()
                return True
        return False

    def sweep(self, idle_max_s: float) -> None:
        """Advance the clock, and end the connections whose limits on time are over.

        `idle_max_s` is how long a connection may wait for a request, in seconds.
        """
        now = time.monotonic()
        self.clock_s += min(now - self._swept_at, SWEEP_LATE_MAX_S)
        self._swept_at = now
        for connection in list(self.timed):
            connection.judge()
        idle_since_s = self.clock_s - idle_max_s
        if self.stopping_since_s is not None:
            if self.clock_s - self.stopping_since_s < LINGER_S:
                return
            idle_since_s = self.clock_s - LINGER_S
        for connection, since_s in list(self.idle.items()):
            if since_s > idle_since_s:
                break
            connection.let_go()
