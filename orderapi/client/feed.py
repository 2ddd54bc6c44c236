"""Reading the events in order, and going on where it was."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from orderapi.client.exchange import Answer, Request
from orderapi.client.failures import AnswerLost
from orderapi.client.retrying import Retries

# How long the service holds a poll with nothing new, and how many events it may give at once.
_WAIT_S = 20
_PAGE_EVENTS = 100


class EventFeed(Iterator[dict[str, Any]]):
    """An iterator over CloudEvents (1.0, as JSON objects) in order of commit; for one thread.

    `after` is the sequence of the last event that was given: save it with what the event caused,
    and begin there the next time. A call that raises loses nothing: the next one goes on there.
    """

    def __init__(self, retries: Retries, after: int, *, follow: bool) -> None:
        if after < 0:
            raise ValueError("after: expected a sequence, or 0 for the beginning")
        self.after = after
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
        wait_s = _WAIT_S if self._follow else 0
        query = {"after": str(self._next), "limit": str(_PAGE_EVENTS), "wait": str(wait_s)}
        events, self._next = self._retries.call(
            Request("GET", "/events", query), _read_page, wait_s
        )
        self._page.extend(events)
        if not events:
            # Numbers of other clients' events are skipped.
            self.after = self._next
            self._is_over = not self._follow


def _read_page(answer: Answer) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    match answer.document:
        case {"events": [*events], "next": int(following)}:
            return [_numbered(event) for event in events], following
    raise AnswerLost("the answer is not a page of events")


def _numbered(event: Any) -> tuple[int, dict[str, Any]]:
    match event:
        case {"sequence": str(sequence)} if sequence.isascii() and sequence.isdigit():
            return int(sequence), event
    raise AnswerLost("the answer is not a page of events")
