"""Threads that submit to a store or its queue at once, each noting how that ended."""

import threading
import time
from collections.abc import Callable
from typing import Any

from orderapi.errors import StoreUnavailable
from tests.waiting import awake_s


class Crowd:
    """`size` threads that submit in this order, each noting its outcome and how long that took.

    An outcome is what `submit(number)` gives, or the reason or the exception of its failure.
    """

    def __init__(self, submit: Callable[[int], Any], size: int) -> None:
        self.outcomes: dict[int, Any] = {}
        self.seconds: dict[int, float] = {}
        self.threads = [
            threading.Thread(target=self._one, args=(submit, number)) for number in range(size)
        ]
        for thread in self.threads:
            thread.start()
            time.sleep(0.002)  # so that they queue in this order

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
