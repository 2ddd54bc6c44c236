"""Logs that the relay cannot deliver, without one line for every failure."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from orderapi.relay.clock import Clock

# A receiver that is down for a day causes about 300 lines at this interval, and an operator who
# opens the log sees the reason within five minutes.
REPEAT_S = 300.0

_log = logging.getLogger(__name__)


class ConsecutiveFailures:
    """Counts the failures since the last success, and logs some of them.

    A failure is logged as a warning if it is the first one, if the reason has changed, or if
    REPEAT_S have passed since the last warning. All other failures are logged at level `debug`. The
    first success after failures is logged once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.count = 0
        # When the first of them occurred, as a time of the wall clock and of the monotonic clock.
        self._since = 0.0
        self._began_at_s = 0.0
        self._reason = ""
        self._warned_at_s = 0.0

    def add(
        self, message: str, reason: str, pause_s: float, state: Callable[[], Mapping[str, object]]
    ) -> None:
        """Count a failure and log it. The next attempt follows in `pause_s` seconds.

        The log line is `message: reason`. `state` returns further fields for the line. It is called
        only for a warning.
        """
        now_s = self._clock.monotonic()
        self.count += 1
        if self.count == 1:
            self._since, self._began_at_s = self._clock.now(), now_s
        is_warning = (
            self.count == 1 or reason != self._reason or now_s - self._warned_at_s >= REPEAT_S
        )
        fields: dict[str, object] = {
            "failures": self.count,
            "blocked_since": timestamp(self._since),
            "next_attempt_s": round(pause_s, 3),
        }
        if is_warning:
            self._reason, self._warned_at_s = reason, now_s
            fields |= state()
        level = logging.WARNING if is_warning else logging.DEBUG
        _log.log(level, "%s: %s", message, reason, extra=fields)

    def reset(self) -> None:
        """Note a success. If there were failures before, log this, and reset their count."""
        if self.count:
            blocked_s = round(self._clock.monotonic() - self._began_at_s, 3)
            fields = {"failures": self.count, "blocked_s": blocked_s}
            _log.info("the failures have ended; deliveries continue", extra=fields)
            self.count = 0


def timestamp(seconds: float) -> str:
    """Format a time in seconds since 1970 as RFC 3339 UTC, in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
