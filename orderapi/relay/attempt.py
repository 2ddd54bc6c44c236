"""What one attempt sends, and how it may end; no HTTP library, no clock."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

GONE = 410


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way: the same `event_id` and `body` on every attempt.

    `body` is the event as CloudEvents JSON; `sent_at` is when this attempt begins, in seconds since
    1970.
    """

    event_id: str
    body: str
    sent_at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt ended.

    `status` is None if no whole answer came back. `reason` is for the log and the metrics: it
    holds nothing of the URL beyond its host, no header and no word of the receiver's. `retry_after`
    is that header (RFC 9110, 10.2.3), as it came.
    """

    status: int | None
    reason: str
    retry_after: str | None = None

    @property
    def is_taken(self) -> bool:
        """Tell whether the receiver has the event."""
        return self.status is not None and 200 <= self.status <= 299

    @property
    def is_gone(self) -> bool:
        """Tell whether the receiver never wants to hear of us again."""
        return self.status == GONE

    def retry_after_s(self, now: float) -> float:
        """Tell for how many seconds the receiver wants to be left alone; 0 if it does not say.

        `now` is in seconds since 1970. It may be infinite.
        """
        value = (self.retry_after or "").strip()
        if re.fullmatch(r"[0-9]+", value):
            return float(value)
        try:
            date = parsedate_to_datetime(value)
            # A date without a zone is in UTC.
            at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return 0.0
        return max(0.0, at - now)


Send = Callable[[Message], Answer]
