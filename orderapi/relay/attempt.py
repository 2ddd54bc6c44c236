"""One attempt to deliver an event: its message and its outcome, without an HTTP library."""

from collections.abc import Callable
from dataclasses import dataclass, field

from orderapi import fields

# The receiver answers with this status when it wants no more events (RFC 9110, section 15.5.11).
GONE = 410


@dataclass(frozen=True, slots=True)
class Message:
    """The message of one attempt. `event_id` and `body` are the same in every attempt.

    `body` is the event as CloudEvents JSON. `sent_at` is the time at which this attempt begins, in
    seconds since 1970. `traceparent` names the trace of the request that made the event, if it
    belonged to one.
    """

    event_id: str
    body: str
    sent_at: float
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    `status` is the HTTP status, or None if no complete answer arrived. `reason` is written to the
    log and to the metrics. Therefore it contains no part of the URL except its host, no header and
    no text of the receiver. `retry_after` and `date` are the unchanged headers of these names (RFC
    9110, sections 10.2.3 and 6.6.1). Comparisons ignore the date.
    """

    status: int | None
    reason: str
    retry_after: str | None = None
    date: str | None = field(default=None, compare=False)

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver acknowledged the event."""
        return self.status is not None and 200 <= self.status <= 299

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more events."""
        return self.status == GONE

    def retry_after_s(self, now: float) -> float:
        """Return the pause in seconds that the receiver asks for, or 0 if it asks for none.

        `now` is in seconds since 1970. The pause may be infinite.
        """
        return fields.retry_after_s(self.retry_after, self.date, now)


Send = Callable[[Message], Outcome]
