"""Group commit among the greenlets of an event loop, as in a worker of the server.

All of this runs on the thread of the loop, so only a switch of greenlets can interrupt it. A call
that may block runs on one native thread, so that an fsync never stops the loop.
"""

import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub, getcurrent

from orderapi.errors import StoreUnavailable
from orderapi.store import native
from orderapi.store.jobs import Job, RunNatively

# How often the deadlines of all jobs are checked. A timer for each job would cost more.
_SWEEP_S = 0.1

# The drain resumes the greenlet of a request with one of these values. Any other one is ignored.
_HANDED_OUT = object()
_LATE = object()


class GreenletDrain:
    """A drain in a greenlet of its own.

    `run_batches` runs all batches that are queued.
    """

    def __init__(self, run_batches: Callable[[RunNatively], None]) -> None:
        self._run_batches = run_batches
        self._hub: Any = get_hub()
        self._native = _NativeThread(self._hub)
        self._greenlet: Any = gevent.Greenlet(self._run)
        self._greenlet.name = "drain"
        self._is_announced = False
        self._is_idle = False
        self._is_stopping = False
        # The jobs whose requests wait, and until when each of them waits.
        self._waiting: dict[Job, float] = {}
        self._sweep_timer = self._hub.loop.timer(_SWEEP_S, _SWEEP_S)

    def start(self) -> None:
        """See `Drain`."""
        self._greenlet.start()

    def enter(self, _job: Job) -> None:
        """See `Drain`. Raises RuntimeError on another thread than that of the loop."""
        if get_hub() is not self._hub:
            raise RuntimeError("the store is used on two event loops")

    def announce(self) -> None:
        """See `Drain`."""
        self._is_announced = True
        if self._is_idle:
            self._is_idle = False
            self._hub.loop.run_callback(self._greenlet.switch)

    def wait(self, job: Job, until: float) -> bool:
        """See `Drain`. The end of the wait may be noticed _SWEEP_S too late."""
        if job.is_handed_out:
            return True
        job.waiter = getcurrent()
        self._waiting[job] = until
        if not self._sweep_timer.active:
            self._sweep_timer.start(self._sweep)
        try:
            while self._hub.switch() not in (_HANDED_OUT, _LATE):
                pass
        finally:
            # This also runs when the request is killed. Its greenlet must not be resumed then.
            job.waiter = None
            self._waiting.pop(job, None)
        return job.is_handed_out

    def hand_out(self, job: Job) -> None:
        """See `Drain`."""
        job.is_handed_out = True
        self._hub.loop.run_callback(_resume, job, _HANDED_OUT)

    def stop(self, timeout_s: float) -> bool:
        """See `Drain`."""
        self._is_stopping = True
        self.announce()
        self._greenlet.join(timeout_s)
        return bool(self._greenlet.dead)

    def _run(self) -> None:
        while not (self._is_stopping and not self._is_announced):
            while not self._is_announced:
                self._is_idle = True
                self._hub.switch()
            self._is_announced = False
            self._run_batches(self._native.run)
        self._native.stop()

    def _sweep(self) -> None:
        now = time.monotonic()
        for job in [job for job, until in self._waiting.items() if until <= now]:
            _resume(job, _LATE)
        if not self._waiting:
            self._sweep_timer.stop()


def _resume(job: Job, signal: object) -> None:
    if job.waiter is not None:
        job.waiter.switch(signal)


class _NativeThread:
    """One native thread, which runs one call at a time for one greenlet."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        # The thread runs `_act` each time that this lock is released.
        self._given = native.native_lock()
        self._given.acquire()
        self._act: Callable[[], Any] | None = None
        # The outcome of the last call. The list is empty while the thread runs a call.
        self._outcomes: list[tuple[Any, BaseException | None]] = []
        self._has_ended = hub.loop.async_()
        self._is_started = False

    def run(self, act: Callable[[], Any]) -> Any:
        """Run `act` while the loop continues, and return its result or raise its error.

        Raises StoreUnavailable if the system has no more threads now. `act` is not run then.
        """
        self._start()
        self._act = act
        self._outcomes.clear()
        self._has_ended.start(getcurrent().switch)
        try:
            self._given.release()
            while not self._outcomes:
                self._hub.switch()
        finally:
            self._has_ended.stop()
        result, error = self._outcomes[0]
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Let the thread end."""
        self._act = None
        if self._is_started:
            self._given.release()

    def _start(self) -> None:
        if not self._is_started:
            try:
                native.start_native_thread(self._serve, ())
            except RuntimeError as error:
                raise StoreUnavailable(str(error)) from error
            self._is_started = True

    def _serve(self) -> None:
        while True:
            self._given.acquire()
            if self._act is None:
                return
            self._outcomes.append(_attempt(self._act))
            self._has_ended.send()


def _attempt(act: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    # Python would print an exception of a native thread on stderr.
    try:
        return act(), None
    except BaseException as error:
        return None, error
