"""Threads that write to a store or its queue at the same time, and note their results."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from orderapi.errors import StoreUnavailable
from tests.support.waiting import awake_s, wait_until


class Crowd:
    """`size` threads that call `submit(number)`, and note the outcome and the seconds by number.

    The outcome is the result of `submit`, the reason of a StoreUnavailable, or any other exception.
    `in_hand` counts the queued writes. If it is given, each thread starts when the write of the
    thread before is queued. The queue must not be emptied in the meantime.
    """

    def __init__(
        self, submit: Callable[[int], Any], size: int, in_hand: Callable[[], int] | None = None
    ) -> None:
        self.outcomes: dict[int, Any] = {}
        self.seconds: dict[int, float] = {}
        self.threads = [
            threading.Thread(target=self._one, args=(submit, number)) for number in range(size)
        ]
        for thread in self.threads:
            queued = in_hand() if in_hand else 0
            thread.start()
            if in_hand:
                wait_until(partial(self._is_queued, in_hand, queued), pause_s=0.0005)

    @staticmethod
    def _is_queued(in_hand: Callable[[], int], before: int) -> bool:
        return in_hand() > before

    def _one(self, submit: Callable[[int], Any], number: int) -> None:
        started = awake_s()
        try:
            self.outcomes[number] = submit(number)
        except StoreUnavailable as error:
            self.outcomes[number] = error.reason
        except BaseException as error:
            self.outcomes[number] = error
        self.seconds[number] = awake_s() - started

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)
        assert len(self.outcomes) == len(self.threads)
