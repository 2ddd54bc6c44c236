"""Time, and the wish of others that this process end; tests bring their own."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_ENDING = {signal.SIGTERM, signal.SIGINT}
# How often a pause looks whether it should end.
_LOOK_S = 0.1


class Stopped(Exception):
    """This process was told to end."""


class Clock(Protocol):
    """What the relay knows of time."""

    def now(self) -> float:
        """Give the time in seconds since 1970."""

    def pause(self, seconds: float) -> None:
        """Let so much time pass, or none with 0; raises Stopped if this process should end."""


class SystemClock:
    """The machine's time; made by `stoppable`."""

    def now(self) -> float:
        """See `Clock`."""
        return time.time()

    def pause(self, seconds: float) -> None:
        """See `Clock`."""
        # `sigtimedwait` may give a signal that never came, when a stopped process goes on.
        ends_at = time.monotonic() + seconds
        while not signal.sigpending() & _ENDING:
            left_s = ends_at - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _LOOK_S))
        while signal.sigpending() & _ENDING:
            signal.sigwait(_ENDING)
        raise Stopped


@contextmanager
def stoppable() -> Iterator[SystemClock]:
    """Hold SIGTERM and SIGINT back while the block runs; they are seen only where it pauses.

    So neither ever comes between what a receiver has taken and the record of it. Threads that the
    block starts hold them back too; it is for the main thread of a process that it has to itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield SystemClock()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
