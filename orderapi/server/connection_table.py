"""The connections of a worker, by what they wait for, and the clock of the limits on time."""

import time
from typing import Protocol

from orderapi.server.limits import LINGER_S, SWEEP_LATE_MAX_S


class TableEntry(Protocol):
    """A connection as the table uses it."""

    def read(self) -> None:
        """Read the bytes that have arrived, if there are any."""

    def enforce_time_limits(self) -> None:
        """End the connection if the client has exceeded a limit on time."""

    def close_if_idle(self) -> bool:
        """Close the connection if it is idle and has sent nothing. Return whether it is closed."""

    def waits_for_head(self) -> bool:
        """Return whether the connection waits for the rest of a head."""

    def close(self) -> None:
        """Close the connection at once."""


class ConnectionTable:
    """The connections of one worker.

    `idle` contains the connections that wait for a request. The first of them is the one that has
    been idle for longest. `timed` contains the connections that wait for their client in the middle
    of a request or of an answer. While the app handles a request, its connection is only in `all`,
    and no limit on time applies to it.
    """

    def __init__(self, connections_max: int) -> None:
        self.connections_max = connections_max
        self.all: set[TableEntry] = set()
        self.idle: dict[TableEntry, float] = {}
        self.timed: dict[TableEntry, None] = {}
        # How many seconds this process has been running. While the process was suspended, or had no
        # processor, it could not read. So a client that was silent then has exceeded no limit.
        self.clock_s = 0.0
        self._swept_at = time.monotonic()
        self.stopping_since_s: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the worker ends when all its requests are answered."""
        return self.stopping_since_s is not None

    def stop(self) -> None:
        """Note that the worker has begun to stop."""
        if self.stopping_since_s is None:
            self.stopping_since_s = self.clock_s

    def make_room(self) -> bool:
        """Make room for a new connection, and return whether there is room now.

        If there are too many connections, the one that has been idle for longest is closed. If none
        is idle, the oldest one whose head is incomplete is closed. A request whose head is whole is
        never cut off.
        """
        while len(self.all) >= self.connections_max:
            if not self.close_longest_idle():
                return False
        return True

    def close_longest_idle(self) -> bool:
        """Close one connection without a whole request, and return whether there was one."""
        for connection in list(self.idle):
            if connection.close_if_idle():
                return True
        for connection in list(self.timed):
            if connection.waits_for_head():
                connection.close()
                return True
        return False

    def sweep(self, idle_max_s: float) -> None:
        """Advance the clock, and end each connection that has exceeded a limit on time.

        `idle_max_s` is how long a connection may wait for a request, in seconds.
        """
        now = time.monotonic()
        self.clock_s += min(now - self._swept_at, SWEEP_LATE_MAX_S)
        self._swept_at = now
        for connection in list(self.timed):
            connection.enforce_time_limits()
        idle_since_s = self.clock_s - idle_max_s
        if self.stopping_since_s is not None:
            if self.clock_s - self.stopping_since_s < LINGER_S:
                return
            idle_since_s = self.clock_s - LINGER_S
        for connection, since_s in list(self.idle.items()):
            if since_s > idle_since_s:
                break
            connection.close_if_idle()
