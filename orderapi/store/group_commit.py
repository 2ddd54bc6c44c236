"""Group commit: the queue, who drains it, and deadlines; no SQL in it.

Requests only wait. A drain takes all that is queued, and one COMMIT, one fsync, serves it all. It
is a thread of its own, or under gevent a greenlet, and there what may block without a time-out
(the lock between processes, a COMMIT on a hanging disk) is handed to a native thread: so every
request can answer at its deadline, and no event loop stops.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gevent import monkey
from gevent.threadpool import ThreadPool

from orderapi.errors import StoreUnavailable

# A store that closes waits so long for its last jobs: their deadlines come earlier.
_CLOSING_S = 8.5
# One transaction of more would make its first request wait for its last, and an event loop's other
# requests for all of them, without saving much.
JOBS_MOST = 128
# How often the drain lets the event loop read on while more and more requests arrive.
_ARRIVALS_MOST = 20

# For bare native threads; what `time` and `threading` have may be an event loop's.
native_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
native_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")

# Runs what may block, and gives its result or raises its error.
Natively = Callable[[Callable[[], Any]], Any]

_log = logging.getLogger(__name__)


class Job:
    """One unit of work: what to run, until when, and how it ended."""

    __slots__ = ("_error", "_result", "_running", "deadline", "fn", "is_gone")

    def __init__(self, fn: Callable[[Any], Any], deadline: float) -> None:
        self.fn = fn
        self.deadline = deadline
        # Set when nobody waits any more. Not begun yet, the job is skipped; else it is committed
        # without a listener.
        self.is_gone = False
        # Held until it has ended; lighter than an event, and only one waits.
        self._running = threading.Lock()
        self._running.acquire()
        self._result: Any = None
        self._error: BaseException | None = None

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Note how it ended; a result only when it is committed, or had nothing to commit."""
        self._result = result
        self._error = error

    def hand_out(self) -> None:
        """Let its request go on; once."""
        self._running.release()

    def has_ended_within(self, timeout_s: float) -> bool:
        """Wait until it is handed out, for its request alone."""
        return self._running.acquire(timeout=timeout_s)

    def outcome(self) -> Any:
        """Give the result, or raise the error, of a job that has ended."""
        if self._error is not None:
            raise self._error
        return self._result


class Batch:
    """What one drain takes from the queue."""

    def __init__(self, queue: deque[Job]) -> None:
        self._queue = queue
        self.taken: list[Job] = []

    def take(self) -> list[Job]:
        """Take the oldest jobs, and give those whose requests still wait."""
        now = time.monotonic()
        alive: list[Job] = []
        while self._queue and len(alive) < JOBS_MOST:
            job = self._queue.popleft()
            self.taken.append(job)
            if job.is_gone or job.deadline <= now:
                job.end(error=StoreUnavailable("no outcome by the deadline"))
            else:
                alive.append(job)
        return alive


class GroupCommit:
    """A queue of jobs, and the thread (under gevent: the greenlet) that has them committed.

    `commit` takes jobs from a batch, runs them and notes their outcomes; what may block in it, it
    hands to the `Natively` that it gets. It tells whether `afterwards` is due, which runs natively
    once the outcomes have been handed out.
    """

    def __init__(
        self, commit: Callable[[Batch, Natively], bool], afterwards: Callable[[], None]
    ) -> None:
        self._commit = commit
        self._afterwards = afterwards
        self._queue: deque[Job] = deque()
        self._arrival = threading.Event()
        # How many jobs are waited for.
        self._waiting = 0
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False

    def submit(self, fn: Callable[[Any], Any], deadline: float) -> Any:
        """Queue `fn`, wait for it and give its result, or raise what it raised.

        Raises StoreUnavailable when the deadline has come, or the store is closing.
        """
        job = Job(fn, deadline)
        with self._mutex:
            self._enter(job)
        try:
            # Set after it was queued: the drain clears it before it looks into the queue.
            self._arrival.set()
            if not job.has_ended_within(max(0.0, deadline - time.monotonic())):
                raise StoreUnavailable("no outcome by the deadline")
        except BaseException:
            # A drain that is stuck takes nothing; for hours they would pile up.
            with suppress(ValueError):  # it was taken
                self._queue.remove(job)
            raise
        finally:
            # Also when this request is killed: its batch goes on without it.
            job.is_gone = True
            with self._mutex:
                self._waiting -= 1
        return job.outcome()

    def in_hand(self) -> int:
        """Tell how many jobs are waited for."""
        return self._waiting

    def close(self) -> bool:
        """Refuse new jobs, wait for the queued ones and tell whether the thread has ended.

        It has not if it is stuck; it may still use the store then.
        """
        with self._mutex:
            self._closing = True
        self._arrival.set()
        if self._thread is None:
            return True
        self._thread.join(_CLOSING_S)
        return not self._thread.is_alive()

    def _enter(self, job: Job) -> None:
        if self._closing:
            raise StoreUnavailable("the store is closing")
        if self._thread is None:
            self._start()
        self._waiting += 1
        # Under the mutex: once the store is closing, nothing more is queued.
        self._queue.append(job)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._drain_until_closed, name="drain", daemon=True)
        try:
            # A request may be killed in the middle of this; it has started then all the same, and
            # there must never be two.
            self._thread.start()
        except RuntimeError as error:  # the system gives no more threads now
            self._thread = None
            raise StoreUnavailable(str(error)) from error

    def _drain_until_closed(self) -> None:
        with _native_caller() as natively:
            while not (self._closing and not self._queue):
                self._arrival.wait()
                self._arrival.clear()
                while self._queue:
                    self._let_arrive()
                    self._drain(natively)

    def _let_arrive(self) -> None:
        """Let what has already arrived be read and queued: it shares the fsync."""
        for _ in range(_ARRIVALS_MOST):
            queued = len(self._queue)
            time.sleep(0)
            if len(self._queue) == queued:
                return

    def _drain(self, natively: Natively) -> None:
        batch = Batch(self._queue)
        afterwards_is_due = False
        try:
            afterwards_is_due = self._commit(batch, natively)
        except BaseException as error:
            # There is no lock to be had, or `commit` has a mistake: nobody waits in vain.
            batch.take()
            for job in batch.taken:
                job.end(error=error)
        for job in batch.taken:
            job.hand_out()
        if afterwards_is_due:
            try:
                natively(self._afterwards)
            except BaseException as error:
                _log.error("failed after a batch", exc_info=error)


@contextmanager
def _native_caller() -> Iterator[Natively]:
    """Run what blocks under gevent on a native thread, elsewhere in place."""
    if not monkey.is_module_patched("threading"):
        yield lambda act: act()
        return
    pool = ThreadPool(1)

    def natively(act: Callable[[], Any]) -> Any:
        try:
            # Before there is a task. gevent queues one, then looks for a thread; if the system
            # gives none, the task stays: a COMMIT given up as failed would be made later, in the
            # middle of another transaction.
            if not pool.size:
                pool.size = 1
        except Exception as error:
            raise StoreUnavailable(str(error)) from error
        # What is raised over there, gevent would print on stderr.
        result, raised = pool.apply(_attempt, (act,))
        if raised is not None:
            raise raised
        return result

    try:
        yield natively
    finally:
        pool.kill()


def _attempt(act: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return act(), None
    except BaseException as error:
        return None, error
