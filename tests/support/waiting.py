"""Waits for conditions, and a clock that does not count the stalls of a shared machine."""

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from gevent import monkey

_TICK_S = 0.01
# On a busy machine, a sleep ends late by up to this time. That is not a stall.
_LATE_S = 0.1
_native_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
_start_native_thread: Callable[..., int] = monkey.get_original("_thread", "start_new_thread")


class _Clock:
    """A clock that stops while the whole machine stalls, as a shared machine may for seconds.

    A thread only sleeps, and notes how much later than requested it was woken.
    """

    def __init__(self) -> None:
        # When the thread was last woken, and how many seconds of stalls it has seen altogether.
        self._noted = (time.monotonic(), 0.0)
        _start_native_thread(self._tick, ())

    def seconds(self) -> float:
        now, stood_s = self._now()
        return now - stood_s

    def _now(self) -> tuple[float, float]:
        woken_at, stood_s = self._noted
        now = time.monotonic()
        late_s = now - woken_at - _TICK_S
        return now, stood_s + late_s * (late_s > _LATE_S)

    def _tick(self) -> None:
        while True:
            _native_sleep(_TICK_S)
            self._noted = self._now()


_clock = cache(_Clock)
# A forked child does not have the thread, so it starts one of its own.
os.register_at_fork(after_in_child=_clock.cache_clear)


def awake_s() -> float:
    """Give the time in seconds, for upper bounds. It does not count stalls of the machine.

    It does count the time in which our processes wait for each other.
    """
    return _clock().seconds()


def wait_until(
    holds: Callable[[], bool],
    what: str = "",
    *,
    timeout_s: float = 30.0,
    pause_s: float = 0.01,
) -> None:
    """Wait until `holds()` is true. Fails after `timeout_s`, with `what` in its message."""
    give_up_at = awake_s() + timeout_s
    while not holds():
        assert awake_s() < give_up_at, f"not within {timeout_s:g} s: {what}"
        time.sleep(pause_s)


def wait_for_text(file: Path, text: str, times: int = 1) -> None:
    """Wait until a log file of a running process contains `text` at least this number of times.

    A process may answer before it has written its line, so a test must not read the file at once.
    A test that asserts that something is not in a log reads it after the process has ended.
    """
    wait_until(lambda: file.read_text(errors="replace").count(text) >= times, f"{text!r} in {file}")
