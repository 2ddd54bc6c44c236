"""What the log hears while the line of events does not move."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from orderapi.relay.clock import Clock

# A receiver that is down for a day costs some hundred lines, and nobody waits long for the next.
REPEAT_S = 300.0

_log = logging.getLogger(__name__)


class Blockage:
    """Says that the line stands still: at once, when the reason changes, and every REPEAT_S.

    In between it speaks on the level `debug`, and once more when the line moves again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # In a row.
        self.failures = 0
        self._since = 0.0
        self._reason = ""
        self._said_at = 0.0

    def note(
        self, message: str, reason: str, pause_s: float, state: Callable[[], Mapping[str, object]]
    ) -> None:
        """Note a failure, after which the next attempt comes in `pause_s` seconds.

        `reason` completes `message`; `state` gives what else is worth knowing, and is asked only
        if it is to be said aloud.
        """
        now = self._clock.now()
        self.failures += 1
        if self.failures == 1:
            self._since = now
        is_news = self.failures == 1 or reason != self._reason or now - self._said_at >= REPEAT_S
        details = {
            "failures": self.failures,
            "blocked_since": timestamp(self._since),
            "next_attempt_s": round(pause_s, 3),
        }
        if is_news:
            self._reason, self._said_at = reason, now
            details |= state()
        level = logging.WARNING if is_news else logging.DEBUG
        _log.log(level, "%s: %s", message, reason, extra=details)

    def end(self) -> None:
        """Note that what failed has succeeded."""
        if self.failures:
            blocked_s = round(self._clock.now() - self._since, 3)
            details = {"failures": self.failures, "blocked_s": blocked_s}
            _log.info("the events move again", extra=details)
            self.failures = 0


def timestamp(seconds: float) -> str:
    """Give a time in seconds since 1970 as RFC 3339 UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
