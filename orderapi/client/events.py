"""Iterates over the events in their order, and continues after the last event returned."""

import random
import time
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Self

from orderapi.client.arguments import check_sequence
from orderapi.client.exchange import Request, WholeAnswer
from orderapi.client.failures import AnswerLost
from orderapi.client.retrying import Retries

# The service answers a poll after this time if there is no new event.
_WAIT_S = 20.0
# The maximum number of events in one answer.
_PAGE_MAX_EVENTS = 100
# An empty page is early if it arrives more than this before the end of the wait. The service sends
# such pages when it stops or when too many readers wait, and some proxies always do. After an early
# page, the next poll waits a random time. Otherwise every reader would poll hundreds of times a
# second.
_EARLY_S = 1.0
_PAUSE_MIN_S = 0.5
_PAUSE_MAX_S = 1.5
# Sequence numbers are integers of 64 bits, with at most this many digits.
_SEQUENCE_MAX_DIGITS = 19

_Page = tuple[list[tuple[int, dict[str, Any]]], int]


class EventFeed(Iterator[dict[str, Any]]):
    """An iterator over the events, as CloudEvents 1.0 in JSON, in order of commit.

    `after` is the sequence number of the last event that was returned. Save it together with what
    the event caused, and pass it to the next iterator. If a step raises an exception, no event is
    lost: the next step continues at the same place. Only one thread may use an iterator.

    Each step may raise the exceptions that `OrderClient` documents. The constructor raises
    ValueError if `after` is not a sequence number.
    """

    def __init__(self, retries: Retries, after: int, *, follow: bool) -> None:
        self.after = check_sequence(after)
        self._retries = retries
        self._follow = follow
        self._page: deque[tuple[int, dict[str, Any]]] = deque()
        self._next = after
        self._is_over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        while not self._page:
            if self._is_over:
                raise StopIteration
            self._poll()
        self.after, event = self._page.popleft()
        return event

    def _poll(self) -> None:
        wait_s = _WAIT_S if self._follow else 0.0
        query = {
            "after": str(self._next),
            "limit": str(_PAGE_MAX_EVENTS),
            "wait": f"{wait_s:.0f}",
        }
        began_at = time.monotonic()
        events, self._next = self._retries.call(
            Request("GET", "/events", query), self._read_page, wait_s
        )
        self._page.extend(events)
        if not events:
            # The numbers of events of other clients are skipped.
            self.after = self._next
            self._is_over = not self._follow
            if wait_s - (time.monotonic() - began_at) > _EARLY_S:
                self._retries.pause(random.uniform(_PAUSE_MIN_S, _PAUSE_MAX_S))  # noqa: S311 - this jitter is no secret

    def _read_page(self, answer: WholeAnswer) -> _Page:
        """Return the events of a page and the number after which the next page begins.

        Raises AnswerLost if the answer is not a page, or if its numbers do not rise from the number
        after which this iterator continues.
        """
        match answer.document:
            case {"events": [*events], "next": int(following)}:
                page = [_numbered(event) for event in events]
                numbers = [self._next, *(number for number, _ in page)]
                is_rising = all(one < other for one, other in pairwise(numbers))
                is_next = numbers[-1] <= following < 10**_SEQUENCE_MAX_DIGITS
                if is_rising and is_next and not isinstance(following, bool):
                    return page, following
                raise AnswerLost("the answer is not the page of events that was asked for")
        raise AnswerLost("the answer is not a page of events")


def _numbered(event: Any) -> tuple[int, dict[str, Any]]:
    match event:
        case {"sequence": str(sequence)} if (
            sequence.isascii() and sequence.isdigit() and len(sequence) <= _SEQUENCE_MAX_DIGITS
        ):
            return int(sequence), event
    raise AnswerLost("the answer is not a page of events")
