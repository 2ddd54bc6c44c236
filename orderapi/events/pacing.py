"""Computes how fast the waiting readers of the feed are answered.

This module has no threads and no clock. Its caller passes the time and the number of orders that
wait.

Answering one reader takes about as much CPU time as one order. If all readers were answered as soon
as an event is committed, and if all of them polled again at once, then a thousand readers would
leave no CPU time for orders. Therefore readers are answered in rounds. A round answers a small
group of readers, then pauses, then answers the next group. While orders wait for their commit, the
pauses are longer and the groups are smaller. After a round there is a rest that is as long as the
round was.
"""

import math

# The largest group while no order waits.
GROUP_MAX_READERS = 8
# The pause after a group while no order waits. Each waiting order adds the same time again.
PAUSE_MIN_S = 0.001
PAUSE_MAX_S = 0.008
# A round has at most this many pauses, so with many readers, groups exceed GROUP_MAX_READERS.
ROUND_MAX_PAUSES = 512
REST_MAX_S = 0.25
# A stopping process may still accept connections for a moment. If it answered new readers at once,
# the same readers would poll again and again. So it answers them after this delay.
STOP_DELAY_S = 0.25

assert PAUSE_MIN_S <= PAUSE_MAX_S
# The longest round and its rest end well within the longest poll, 30 s.
assert ROUND_MAX_PAUSES * PAUSE_MAX_S + REST_MAX_S < 30


class Round:
    """The sizes of the groups in one round, which answers `readers` readers."""

    def __init__(self, readers: int) -> None:
        self._group_min = math.ceil(readers / ROUND_MAX_PAUSES)
        self.group = self._group_min

    def adapt(self, waiting_orders: int) -> None:
        """Choose the size of the next group (`group`) by the number of orders that wait."""
        wanted = self.group // 2 if waiting_orders else min(self.group + 1, GROUP_MAX_READERS)
        self.group = max(self._group_min, wanted)


def pause_s(waiting_orders: int) -> float:
    """Return the seconds to pause after a group while this many orders wait for their commit."""
    return min(PAUSE_MIN_S * (1 + waiting_orders), PAUSE_MAX_S)


def rest_s(round_s: float, poll_interval_s: float) -> float:
    """Return the seconds to rest after a round that took `round_s` seconds.

    The rest is at least `poll_interval_s`, the seconds between two polls of the store.
    """
    return max(poll_interval_s, min(round_s, REST_MAX_S))


class Stop:
    """Decides which readers a stopping process answers although there is no new event."""

    def __init__(self) -> None:
        self._began_at: float | None = None

    def cutoff(self, is_stopping: bool, now: float) -> float:
        """Return a time. Each reader that began to wait at this time or before is answered.

        When the stop begins, these are the readers that already wait. STOP_DELAY_S later, these are
        all readers. `now` and the result are in seconds of the same monotonic clock. While the
        process does not stop, the result is minus infinity.
        """
        if not is_stopping:
            return -math.inf
        if self._began_at is None:
            self._began_at = now
        return self._began_at if now - self._began_at < STOP_DELAY_S else math.inf
