"""Limits the time for which a connection waits for a slow client.

Such a wait begins in the middle of a request or of an answer. Idle connections have another limit.
"""

from math import inf
from typing import NamedTuple

from orderapi.server.connection_table import ConnectionTable
from orderapi.server.limits import (
    BODY_MAX_S,
    BODY_SILENCE_MAX_S,
    DISCARD_MAX_S,
    HEAD_MAX_S,
    LINGER_S,
    SEND_SILENCE_MAX_S,
)
from orderapi.server.states import DISCARDING, READING, SENDING


class TimeLimits(NamedTuple):
    """How many seconds a client may be silent, and how many seconds the whole wait may take."""

    silence_max_s: float
    total_max_s: float


HEAD_LIMITS = TimeLimits(inf, HEAD_MAX_S)
HEAD_LIMITS_WHEN_STOPPING = TimeLimits(LINGER_S, HEAD_MAX_S)
BODY_LIMITS = TimeLimits(BODY_SILENCE_MAX_S, BODY_MAX_S)
SEND_LIMITS = TimeLimits(SEND_SILENCE_MAX_S, inf)
DISCARD_LIMITS = TimeLimits(inf, DISCARD_MAX_S)
# While the app handles a request, nothing is expected from the client.
NO_LIMITS = TimeLimits(inf, inf)


class ClientWait:
    """When a wait for the client began, and when the client was last active.

    Both are values of `connections.clock_s`.
    """

    __slots__ = ("_active_at_s", "_began_at_s", "_connections")

    def __init__(self, connections: ConnectionTable) -> None:
        self._connections = connections
        self._began_at_s = self._active_at_s = connections.clock_s

    def begin(self) -> None:
        """Note that a wait begins now: the client must send or read something next."""
        self._began_at_s = self._active_at_s = self._connections.clock_s

    def note_activity(self) -> None:
        """Note that the client has sent or read something."""
        self._active_at_s = self._connections.clock_s

    def exceeds(self, state: int, *, reads_head: bool) -> bool:
        """Return whether the wait has exceeded a limit of a connection in this state."""
        limits = _limits(state, reads_head=reads_head, is_stopping=self._connections.is_stopping)
        now_s = self._connections.clock_s
        is_silent = now_s - self._active_at_s > limits.silence_max_s
        return is_silent or now_s - self._began_at_s > limits.total_max_s


def _limits(state: int, *, reads_head: bool, is_stopping: bool) -> TimeLimits:
    if state == READING and reads_head:
        return HEAD_LIMITS_WHEN_STOPPING if is_stopping else HEAD_LIMITS
    if state == READING:
        return BODY_LIMITS
    if state == SENDING:
        return SEND_LIMITS
    return DISCARD_LIMITS if state == DISCARDING else NO_LIMITS
