"""What one attempt sends, and how it may end; no HTTP library, no clock."""

from collections.abc import Callable
from dataclasses import dataclass, field

from orderapi import fields

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
    and `date` are those two headers, as they came; comparisons ignore the date.
    """

    status: int | None
    reason: str
    retry_after: str | None = None
    date: str | None = field(default=None, compare=False)

    @property
    def is_taken(self) -> bool:
        """Tell whether the receiver has the event."""
        return self.status is not None and 200 <= self.status <= 299

    @property
    def is_gone(self) -> bool:
        """Tell whether the receiver never wants to hear of us again."""
        return self.status == GONE

    def retry_after_s(self, now: float) -> float:
        """Return how long the receiver asks the relay to wait, in seconds; 0 if it does not ask.

        `now` is in seconds since 1970. The result may be infinite.
        """
        return fields.retry_after_s(self.retry_after, self.date, now)


Send = Callable[[Message], Answer]
