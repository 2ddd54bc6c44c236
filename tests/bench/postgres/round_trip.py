"""A connection to a server that seems to be far away: each call is sent later.

A proxy would use the processor time that is measured. So the calling process waits itself, for the
whole round trip before it sends. To wait for one half before and for the other half after the call
would give the same times, but it would wake the process up twice.
"""

import ctypes
import os
import time
from typing import TypeVar

from gevent import get_hub
from psycopg.abc import PQGen

from orderapi.store.postgres import connection, servers

T = TypeVar("T")

_READABLE = 1
_NANOSECONDS = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class _TimerSetting(ctypes.Structure):
    """`struct itimerspec` (timerfd_settime(2)): seconds and nanoseconds, twice."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Pause:
    """Lets the other greenlets run for an exact time.

    The timers of the event loop itself only know whole milliseconds, so the kernel's are used.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create has failed")
        whole_s, rest_ns = divmod(round(seconds * _NANOSECONDS), _NANOSECONDS)
        self._setting = ctypes.byref(_TimerSetting(0, 0, whole_s, rest_ns))
        self._watcher = get_hub().loop.io(self._timer, _READABLE)

    def __call__(self) -> None:
        """Wait. To set a timer again also makes it unreadable, so nothing has to be read."""
        if _libc.timerfd_settime(self._timer, 0, self._setting, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime has failed")
        get_hub().wait(self._watcher)


class FarConnection(connection.Connection):
    """A connection of the product, to a server that is `round_trip_s` seconds away."""

    round_trip_s = 0.0
    _pause: Pause | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Wait for the time of a round trip, then send and wait as the product does."""
        if self._pause is None:
            self._pause = Pause(self.round_trip_s)
        self._pause()
        return super().wait(gen, interval, timeout)


def set_far(round_trip_s: float) -> None:
    """Make every connection that the product opens from now on a far one."""
    FarConnection.round_trip_s = round_trip_s
    # `servers.connect` opens what this name stands for.
    vars(servers)["Connection"] = FarConnection
