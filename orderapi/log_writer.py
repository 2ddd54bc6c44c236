"""Writes log lines on a native thread, so that no caller ever waits for the reader of the log.

If the reader of a pipe or a terminal stops reading, a write blocks until it reads again. Therefore
callers only append their lines to a bounded buffer, and a native thread of each process writes
them. If the buffer is full, new lines are dropped. The number of dropped lines is written to the
log when the reader reads again.
"""

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

# About 3 MB of lines. A busy service writes them in a second.
HELD_MAX_LINES = 8192
# Several processes may share a pipe. The kernel never mixes writes that have at most this size.
WRITE_MAX_BYTES = select.PIPE_BUF
# The thread writes all lines of this time together. Each time it wakes, it takes the interpreter's
# lock from the event loop. With 5 ms, this took 30 microseconds of CPU per read of an order. If a
# process is killed, the lines of this time are lost.
GATHER_S = 0.05
# How long a process that ends waits until its last lines are written.
DRAIN_MAX_S = 1.0

_RETRY_S = 0.02


class Threads(Protocol):
    """The functions of the module `_thread` that the writer needs, without gevent's patches."""

    def start_new_thread(self, function: Callable[[], object], args: tuple[()], /) -> int:
        """Start a native thread."""

    def allocate_lock(self) -> Any:
        """Return a native lock."""


class LogWriter:
    """Writes the lines of one process to a file descriptor.

    `describe(count)` returns the line that reports that `count` lines were dropped. It is called on
    the native thread.
    """

    def __init__(self, descriptor: int, describe: Callable[[int], bytes], threads: Threads) -> None:
        self._descriptor = descriptor
        self._describe = describe
        self._threads = threads
        self.begin()
        # After a fork, the child needs its own buffer and its own thread. The parent writes the
        # lines that were in the buffer.
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Make the buffer empty. The next line starts a new thread."""
        self._lines: deque[bytes] = deque()
        # The caller that starts the thread takes this lock first, so only one caller can start it.
        self._started = self._threads.allocate_lock()
        # True while the thread waits, or is about to wait. Only then must a caller wake it.
        self._is_idle = False
        self._is_writing = False
        self._wake = _locked(self._threads)
        # This lock is never released. An attempt to acquire it with a time-out is a native sleep.
        self._sleep = _locked(self._threads)
        # Dropped lines have two counters, so that each counter is changed by one thread alone.
        self._refused = 0
        self._failed = 0
        self._reported = 0

    def write(self, line: bytes) -> None:
        """Append one line, with its line feed, to the buffer. This never waits."""
        if len(self._lines) < HELD_MAX_LINES:
            self._lines.append(line)
        else:
            self._refused += 1
        if self._is_idle:
            self._is_idle = False
            with suppress(RuntimeError):  # the thread is awake already
                self._wake.release()
        elif not self._started.locked():
            self._start()

    def drain(self) -> None:
        """Wait until all lines are written, for at most DRAIN_MAX_S seconds."""
        until = time.monotonic() + DRAIN_MAX_S
        while (self._lines or self._is_writing) and time.monotonic() < until:
            if not self._started.locked():
                self._start()
            self._sleep.acquire(timeout=0.001)

    def _start(self) -> None:
        if self._started.acquire(blocking=False):
            try:
                self._threads.start_new_thread(self._run, ())
            except RuntimeError:  # the operating system refuses a thread now; the lines are kept
                self._started.release()

    def _run(self) -> None:
        # Signals must reach the main thread, which may wait for them or have blocked them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            self._is_writing = True
            while self._lines:
                self._write_some()
            self._is_writing = False
            self._is_idle = True
            # A line that was appended before `_is_idle` was set has not released `_wake`.
            if not self._lines:
                self._wake.acquire()
                self._sleep.acquire(timeout=GATHER_S)
            self._is_idle = False

    def _write_some(self) -> None:
        some = self._take()
        if not self._write_whole(b"".join(some)):
            self._failed += len(some)
            return
        dropped = self._refused + self._failed - self._reported
        if dropped and self._write_whole(self._describe(dropped)):
            self._reported += dropped

    def _take(self) -> Sequence[bytes]:
        """Remove the oldest lines from the buffer: as many as fit into one write, at least one."""
        some = [self._lines.popleft()]
        size = len(some[0])
        while self._lines and size + len(self._lines[0]) <= WRITE_MAX_BYTES:
            some.append(self._lines.popleft())
            size += len(some[-1])
        return some

    def _write_whole(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process has made the descriptor non-blocking
                self._sleep.acquire(timeout=_RETRY_S)
            except OSError:  # the reader has gone, or the disk is full
                return False
        return True


def _locked(threads: Threads) -> Any:
    lock = threads.allocate_lock()
    lock.acquire()
    return lock
