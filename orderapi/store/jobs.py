"""The jobs of group commit: what one is, what a batch takes, and what runs the batches."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from orderapi.errors import StoreUnavailable

# In a larger transaction, the first request would wait long for the last one, and the other
# requests of an event loop would wait for all of them. A larger batch would save little.
JOBS_MAX = 128

# The reason of each job that has not ended by its deadline.
NO_OUTCOME = "the write did not finish by its deadline"
# The reason of each job whose request ended first.
NOT_BEGUN = "the request ended, at its deadline or with its worker, before its write began"

# Runs a call that may block, and returns its result or raises its error.
RunNatively = Callable[[Callable[[], Any]], Any]


def find_nothing() -> None:
    """Return None, as the look-up of a job whose result cannot be found anywhere else."""


class Job:
    """One unit of work: what is to be done, until when, and how it ended.

    `work` is what the engine understands: a function of a transaction, or an order to place.
    """

    __slots__ = ("_error", "_result", "deadline", "is_gone", "is_handed_out", "waiter", "work")

    def __init__(self, work: Any, deadline: float) -> None:
        self.work = work
        self.deadline = deadline
        # Set when the request no longer waits. A job that has not begun is then skipped. A job that
        # has begun is committed, and its result is discarded.
        self.is_gone = False
        # Set when the job has ended and its request may continue.
        self.is_handed_out = False
        # The object with which its request waits. Only the drain uses it.
        self.waiter: Any = None
        self._result: Any = None
        self._error: BaseException | None = None

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Note how the job ended. Before a result is noted, its transaction must have ended."""
        self._result = result
        self._error = error

    def is_refused(self) -> bool:
        """Tell whether the job has ended because the store is not available."""
        return isinstance(self._error, StoreUnavailable)

    def outcome(self) -> Any:
        """Return the result of a job that has ended, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._result


class Batch:
    """What one drain takes from the queue."""

    def __init__(self, queue: deque[Job]) -> None:
        self._queue = queue
        self.taken: list[Job] = []

    def take(self) -> list[Job]:
        """Take the oldest jobs, and return those whose requests still wait."""
        now = time.monotonic()
        alive: list[Job] = []
        while self._queue and len(alive) < JOBS_MAX:
            job = self._queue.popleft()
            self.taken.append(job)
            if job.is_gone or job.deadline <= now:
                job.end(error=StoreUnavailable(NO_OUTCOME))
            else:
                alive.append(job)
        return alive


class Drain(Protocol):
    """What runs the batches, and what the requests of this process wait with."""

    def start(self) -> None:
        """Start it. Raises StoreUnavailable if the system has no more threads now."""

    def enter(self, job: Job) -> None:
        """Prepare a job for `wait`, before it is queued."""

    def announce(self) -> None:
        """Let the batches run: something was queued, or the drain should stop."""

    def wait(self, job: Job, until: float) -> bool:
        """Wait for the job, and tell whether it was handed out.

        `until` is a time of `time.monotonic()` in seconds. After that time, the call may be
        repeated with a later one.
        """

    def hand_out(self, job: Job) -> None:
        """Let the request of a job that has ended continue. Called once for each job."""

    def stop(self, timeout_s: float) -> bool:
        """Run what is queued, then end. Tells whether it has ended within `timeout_s`."""
