"""How long a connection may wait for its client in the middle of something."""

from math import inf
from typing import NamedTuple

from orderapi.server.limits import (
    BODY_MAX_S,
    BODY_SILENCE_MAX_S,
    DISCARD_MAX_S,
    HEAD_MAX_S,
    LINGER_S,
    SEND_SILENCE_MAX_S,
)
from orderapi.server.roster import Roster


class Patience(NamedTuple):
    """For how many seconds a client may be silent, and how many it may take in all."""

    silence_max_s: float
    total_max_s: float


FOR_HEAD = Patience(inf, HEAD_MAX_S)
FOR_HEAD_WHEN_STOPPING = Patience(LINGER_S, HEAD_MAX_S)
FOR_BODY = Patience(BODY_SILENCE_MAX_S, BODY_MAX_S)
FOR_READING_ITS_ANSWER = Patience(SEND_SILENCE_MAX_S, inf)
FOR_ENDING = Patience(inf, DISCARD_MAX_S)
# While the app handles a request, nobody waits for the client.
ENDLESS = Patience(inf, inf)


class Timing:
    """When a wait for the client began, and when the client was last heard, by `roster.clock_s`."""

    __slots__ = ("_began_at_s", "_heard_at_s", "_roster")

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._began_at_s = self._heard_at_s = roster.clock_s

    def begin(self) -> None:
        """Begin a wait."""
        self._began_at_s = self._heard_at_s = self._roster.clock_s

    def hear(self) -> None:
        """Note that the client has sent or read something."""
        self._heard_at_s = self._roster.clock_s

    def exceeds(self, patience: Patience) -> bool:
        """Tell whether the wait is longer than that."""
        now_s = self._roster.clock_s
        is_silent = now_s - self._heard_at_s > patience.silence_max_s
        return is_silent or now_s - self._began_at_s > patience.total_max_s
