"""Group commit among plain threads, as in the commands and in the tests."""

import threading
import time
from collections.abc import Callable
from typing import Any

from orderapi.errors import StoreUnavailable
from orderapi.store.jobs import Job, RunNatively


class ThreadDrain:
    """A drain on a thread of its own. A call that blocks stops only this thread.

    `run_batches` runs all batches that are queued.
    """

    def __init__(self, run_batches: Callable[[RunNatively], None]) -> None:
        self._run_batches = run_batches
        self._arrival = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    def start(self) -> None:
        """See `Drain`."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise StoreUnavailable(str(error)) from error

    def enter(self, job: Job) -> None:
        """See `Drain`. `hand_out` releases the lock. Only one thread waits for it."""
        job.waiter = threading.Lock()
        job.waiter.acquire()

    def announce(self) -> None:
        """See `Drain`."""
        # The job is already queued. The drain clears the event before it reads the queue.
        self._arrival.set()

    def wait(self, job: Job, until: float) -> bool:
        """See `Drain`."""
        if job.is_handed_out:
            return True
        return bool(job.waiter.acquire(timeout=max(0.0, until - time.monotonic())))

    def hand_out(self, job: Job) -> None:
        """See `Drain`."""
        job.is_handed_out = True
        job.waiter.release()

    def stop(self, timeout_s: float) -> bool:
        """See `Drain`."""
        self._is_stopping = True
        self._arrival.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._arrival.wait()
            self._arrival.clear()
            # This is read before the queue, because no job is queued after it is set.
            is_last = self._is_stopping
            self._run_batches(_in_place)


def _in_place(act: Callable[[], Any]) -> Any:
    return act()
