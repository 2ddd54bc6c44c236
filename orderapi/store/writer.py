"""The one thread of a process that writes: its queue, its deadlines, its behaviour when stuck.

Requests only wait. Waiting for the lock between processes has no time-out, and a COMMIT on a
hanging disk cannot be interrupted; so both happen on a thread that is no request's, and a request
can answer at its deadline whatever they do.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from orderapi.errors import StoreUnavailable

# Without any progress for so long, or with a job queued for so long, the writer counts as stuck.
# A healthy commit takes milliseconds, one on a throttled cloud volume tenths of a second.
PATIENCE_S = 1.0
# How often a request that waits looks whether it should go on. Requests that have no thread yet
# wait for those: PATIENCE_S, this and REQUEST_TIME_S must stay below the promised 10 s together.
_LOOK_S = 0.25
# A store that closes waits so long for its last jobs: their deadlines come earlier.
_CLOSING_S = 10.0


class Job:
    """One unit of work: what to run, until when, and how it ended."""

    def __init__(self, fn: Callable[[Any], Any], deadline: float) -> None:
        self.fn = fn
        self.deadline = deadline
        self.queued_at = time.monotonic()
        self.ended = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def succeed(self, result: Any) -> None:
        """Hand over the result of a job that is committed, or had nothing to commit."""
        self._result = result
        self.ended.set()

    def fail(self, error: BaseException) -> None:
        """Hand over why the job left nothing behind, or may have."""
        self._error = error
        self.ended.set()

    def outcome(self) -> Any:
        """Give the result, or raise the error, of a job that has ended."""
        if self._error is not None:
            raise self._error
        return self._result


class Writer:
    """A queue of jobs and the thread that runs them, one after another, in order of arrival.

    `locked` gives the lock between processes; `run` runs a job under it, ends it, and tells whether
    the store did its part. While the writer is stuck, only the `waiting_when_stuck` oldest jobs may
    go on waiting; the others fail at once, so that their threads can serve those who only read.
    """

    def __init__(
        self,
        locked: Callable[[], AbstractContextManager[None]],
        run: Callable[[Job], bool],
        *,
        waiting_when_stuck: int,
    ) -> None:
        self._locked = locked
        self._run = run
        self._waiting_when_stuck = waiting_when_stuck
        self._mutex = threading.Lock()
        self._arrival = threading.Condition(self._mutex)
        self._queue: deque[Job] = deque()
        self._has_begun_one = False
        self._thread: threading.Thread | None = None
        self._closing = False
        # Since when the writer has had work and got none of it done.
        self._no_progress_since: float | None = None

    def submit(self, fn: Callable[[Any], Any], deadline: float) -> Any:
        """Queue `fn`, wait for it and give its result, or raise what it raised.

        Raises StoreUnavailable when the deadline has come, or no wait makes sense.
        """
        job = Job(fn, deadline)
        with self._mutex:
            if self._closing:
                raise StoreUnavailable("the store is closing")
            if self._is_stuck() and len(self._queue) >= self._may_be_queued():
                raise StoreUnavailable("stuck, and enough are waiting")
            self._start()
            self._queue.append(job)
            self._arrival.notify()
        while not job.ended.wait(max(0.0, min(_LOOK_S, deadline - time.monotonic()))):
            self._give_up_if_hopeless(job)
        return job.outcome()

    def close(self) -> bool:
        """Refuse new jobs, wait for the queued ones and tell whether the thread has ended.

        It has not if it is stuck; it may still use the store then.
        """
        with self._mutex:
            self._closing = True
            self._arrival.notify()
        if self._thread is None:
            return True
        self._thread.join(_CLOSING_S)
        return not self._thread.is_alive()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._loop, name="writer", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system gives no more threads now
                raise StoreUnavailable(str(error)) from error
            self._thread = thread

    def _give_up_if_hopeless(self, job: Job) -> None:
        with self._mutex:
            if job.ended.is_set():
                return
            if time.monotonic() >= job.deadline:
                reason = "no outcome by the deadline"
            elif self._is_stuck() and job in list(self._queue)[self._may_be_queued() :]:
                reason = "stuck, and enough are waiting"
            else:
                return
            if job in self._queue:
                self._queue.remove(job)
                raise StoreUnavailable(reason)
            # Begun already: it is committed without a listener, or not at all.
            raise StoreUnavailable(f"{reason}, outcome unknown")

    def _may_be_queued(self) -> int:
        # The request of a job that has begun waits as well.
        return self._waiting_when_stuck - self._has_begun_one

    def _is_stuck(self) -> bool:
        now = time.monotonic()
        since = now if self._no_progress_since is None else self._no_progress_since
        queued_at = self._queue[0].queued_at if self._queue else now
        return now - min(since, queued_at) > PATIENCE_S

    def _loop(self) -> None:
        while self._wait_for_work():
            job = None
            try:
                with self._locked():
                    job = self._take()
                    if job is None or self._run(job):
                        self._no_progress_since = None
            except BaseException as error:
                # No lock to be had, or `run` failed to end its job: nobody waits in vain.
                job = job or self._take()
                if job is not None:
                    job.fail(error)
            finally:
                self._has_begun_one = False

    def _wait_for_work(self) -> bool:
        with self._mutex:
            while not self._queue and not self._closing:
                patience_s = None if self._no_progress_since is None else PATIENCE_S
                if not self._arrival.wait(patience_s):
                    # Nobody has asked for a while: whoever comes next may find it mended.
                    self._no_progress_since = None
            if self._no_progress_since is None:
                self._no_progress_since = time.monotonic()
            return bool(self._queue)

    def _take(self) -> Job | None:
        """Take the oldest job whose request still waits."""
        with self._mutex:
            while self._queue:
                job = self._queue.popleft()
                if job.deadline > time.monotonic():
                    self._has_begun_one = True
                    return job
                job.fail(StoreUnavailable("no outcome by the deadline"))
            return None
