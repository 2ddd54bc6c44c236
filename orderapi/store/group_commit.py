"""Group commit: the queue of jobs, and the drain that commits them. This module has no SQL.

Requests only wait. The drain takes all queued jobs, which share one COMMIT with one fsync. How
requests wait, and where the drain runs, depends on the process: see `thread_drain` and
`greenlet_drain`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from orderapi.errors import StoreUnavailable
from orderapi.store.contract import REQUEST_TIME_S
from orderapi.store.jobs import NO_OUTCOME, Batch, Drain, Job, RunNatively, find_nothing
from orderapi.store.native import has_event_loop, native_lock
from orderapi.store.thread_drain import ThreadDrain

# If a job waits and no batch succeeds for this time, probably nothing can be committed now.
PATIENCE_S = 0.5
# A store that closes waits this long for its last jobs. They must have ended by their deadlines.
_CLOSING_MAX_S = 8.5
assert _CLOSING_MAX_S > REQUEST_TIME_S
# How many times, at most, the drain lets the event loop read arriving requests before a batch.
_ARRIVALS_MAX = 20

_log = logging.getLogger(__name__)


def _choose_drain() -> Callable[[Callable[[RunNatively], None]], Drain]:
    """Return the type of drain for this process."""
    if not has_event_loop():
        # In a command there is no event loop. It starts faster if gevent is not loaded.
        return ThreadDrain
    from orderapi.store.greenlet_drain import GreenletDrain

    return GreenletDrain


# A worker of the server has loaded its drain before it is forked, and reads no file of the program
# later, which an upgrade may have deleted.
_make_drain = _choose_drain()


class GroupCommit:
    """A queue of jobs, and the drain that commits them.

    `commit(batch, run_natively)` takes jobs from a batch, runs them and notes their outcomes. It
    passes each call that may block to `run_natively`. It tells whether `after_batch` is due, which
    runs natively once the outcomes have been handed out.
    """

    def __init__(
        self, commit: Callable[[Batch, RunNatively], bool], after_batch: Callable[[], None]
    ) -> None:
        self._commit = commit
        self._after_batch = after_batch
        self._drain: Drain | None = None
        self._queue: deque[Job] = deque()
        # How many requests wait for their jobs.
        self._waiting = 0
        # When a batch last ended in which the store was available.
        self._succeeded_at = float("-inf")
        self._mutex = native_lock()
        self._is_closing = False

    def submit(self, work: Any, deadline: float, look_up: Callable[[], Any] = find_nothing) -> Any:
        """Queue a job, wait until it has ended, and return its result. Raises what the job raised.

        `look_up` is called at most once: if the job waits and no batch succeeds for PATIENCE_S, if
        the deadline comes, or if the store was not available for the job. If it finds a result,
        this result is returned, and the request waits for the job no longer.

        Raises StoreUnavailable when the deadline has come, or when the store is closing.
        """
        job = Job(work, deadline)
        with self._mutex:
            drain = self._enter(job)
        try:
            drain.announce()
            return self._outcome(job, drain, look_up)
        finally:
            # This is also reached when the request is killed. Its batch continues without it.
            job.is_gone = True
            with self._mutex:
                self._waiting -= 1
            if not job.is_handed_out:
                # A drain that is stuck takes no jobs. Abandoned jobs would then fill the memory.
                with suppress(ValueError):  # the drain has taken it
                    self._queue.remove(job)

    def in_hand(self) -> int:
        """Return how many requests wait for their jobs."""
        return self._waiting

    def close(self) -> bool:
        """Refuse new jobs, wait for the queued ones, and tell whether the drain has ended.

        It has not ended if it is stuck. Then it may still use the store.
        """
        with self._mutex:
            self._is_closing = True
        return self._drain is None or self._drain.stop(_CLOSING_MAX_S)

    def _enter(self, job: Job) -> Drain:
        if self._is_closing:
            raise StoreUnavailable("this process is stopping and accepts no more writes")
        if self._drain is None:
            drain = _make_drain(self._run_batches)
            drain.start()
            self._drain = drain
        self._drain.enter(job)
        self._waiting += 1
        # The mutex is held, because no job may be queued once the store is closing.
        self._queue.append(job)
        return self._drain

    def _outcome(self, job: Job, drain: Drain, look_up: Callable[[], Any]) -> Any:
        """Wait for a job, and return its result or what `look_up` finds. See `submit`."""
        if not self._wait_while_batches_succeed(job, drain) or job.is_refused():
            found = look_up()
            if found is not None:
                return found
            if not drain.wait(job, job.deadline):
                raise StoreUnavailable(NO_OUTCOME)
        return job.outcome()

    def _wait_while_batches_succeed(self, job: Job, drain: Drain) -> bool:
        """Wait for a job, and tell whether it was handed out.

        In a long queue, a job may wait long while the batches before it are committed. All look-ups
        of such a queue would only delay it.
        """
        until = time.monotonic() + PATIENCE_S
        while not drain.wait(job, min(until, job.deadline)):
            if until >= job.deadline or until >= self._succeeded_at + PATIENCE_S:
                return False
            until = self._succeeded_at + PATIENCE_S
        return True

    def _run_batches(self, run_natively: RunNatively) -> None:
        while self._queue:
            self._let_arrive()
            self._run_batch(run_natively)

    def _let_arrive(self) -> None:
        """Let the event loop queue the requests that have arrived. They then share the fsync."""
        for _ in range(_ARRIVALS_MAX):
            queued = len(self._queue)
            time.sleep(0)
            if len(self._queue) == queued:
                return

    def _run_batch(self, run_natively: RunNatively) -> None:
        batch = Batch(self._queue)
        is_work_due = False
        try:
            is_work_due = self._commit(batch, run_natively)
        except BaseException as error:
            # The lock cannot be taken, or `commit` has a bug. Each request gets this error at once,
            # so that none waits until its deadline.
            batch.take()
            for job in batch.taken:
                job.end(error=error)
        if not all(job.is_refused() for job in batch.taken):
            self._succeeded_at = time.monotonic()
        assert self._drain is not None
        for job in batch.taken:
            self._drain.hand_out(job)
        if is_work_due:
            try:
                run_natively(self._after_batch)
            except BaseException as error:
                _log.error(
                    "the work after a batch of writes (a checkpoint) failed; no write is affected",
                    exc_info=error,
                )
