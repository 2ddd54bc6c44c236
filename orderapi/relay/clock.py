"""The clock of the relay. It also reports a signal to stop. Tests provide a clock of their own."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
# How often a pause polls for a stop signal.
_POLL_S = 0.1


class Stopped(Exception):
    """This process received a signal to stop."""


class Clock(Protocol):
    """The time as the relay needs it.

    A time that is logged or sent is a time of the wall clock, `now`. A duration is the difference
    of two times of `monotonic`, because the wall clock can be set back or forward.
    """

    def now(self) -> float:
        """Return the time of the wall clock in seconds since 1970."""

    def monotonic(self) -> float:
        """Return a time in seconds that never goes backwards and has no defined start."""

    def pause(self, seconds: float) -> None:
        """Wait this number of seconds. With 0, only check for a signal to stop.

        Raises Stopped if this process has received a signal to stop.
        """


class SystemClock:
    """The clock of the operating system. Get it from `stoppable`, which blocks the signals."""

    def now(self) -> float:
        """See `Clock`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """See `Clock`."""
        # `sigtimedwait` is not used: it may report a signal that was never sent, when a process
        # that was stopped with SIGSTOP continues.
        ends_at = time.monotonic() + seconds
        while not signal.sigpending() & _STOP_SIGNALS:
            left_s = ends_at - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _POLL_S))
        while signal.sigpending() & _STOP_SIGNALS:
            signal.sigwait(_STOP_SIGNALS)
        raise Stopped


@contextmanager
def stoppable() -> Iterator[SystemClock]:
    """Block SIGTERM and SIGINT inside the `with` block. `SystemClock.pause` polls for them.

    Therefore no signal stops the relay after the receiver's acknowledgement and before its record.
    Threads that start inside the block inherit the blocked signals. Only the main thread of a
    process may use this.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield SystemClock()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
