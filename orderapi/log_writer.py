"""How log lines are written so that no caller ever waits for the reader of the log.

A pipe, a terminal or a collector may stop reading. Then a write blocks, for as long as the reader
wants. Therefore callers only append their lines to a bounded buffer. A native thread of each
process writes the buffered lines. Lines that find the buffer full are dropped. The number of
dropped lines is written to the log as soon as the reader reads again.
"""

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

# About 3 MB of lines: a busy second of requests.
HELD_MAX_LINES = 8192
# Several processes may share a pipe. The system never mixes a write of up to this size with others.
WRITE_MAX_BYTES = select.PIPE_BUF
# The thread writes the lines of this time together. Each time it wakes, it takes the interpreter's
# lock from the event loop. With 5 ms, this cost 30 microseconds of CPU per read of an order. A
# process that is killed loses the lines of this time.
GATHER_S = 0.05
# How long a process that ends waits until its last lines are written.
DRAIN_MAX_S = 1.0

_RETRY_S = 0.02


class Threads(Protocol):
    """What the writer needs of the module `_thread`; under gevent, of the unpatched module."""

    def start_new_thread(self, function: Callable[[], object], args: tuple[()], /) -> int:
        """Start a native thread."""

    def allocate_lock(self) -> Any:
        """Return a native lock."""


class LogWriter:
    """The lines of one process on their way to a file descriptor.

    `describe(count)` returns the line that reports that `count` lines were dropped. It is called on
    the native thread.
    """

    def __init__(self, descriptor: int, describe: Callable[[int], bytes], threads: Threads) -> None:
        self._descriptor = descriptor
        self._describe = describe
        self._threads = threads
        self.begin()
        # A child has its own lines and its own thread. The parent writes the lines of the parent.
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Forget all lines, and start a new thread with the next line."""
        self._lines: deque[bytes] = deque()
        # Locked as soon as the thread is started, which only one caller may do.
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
        """Hand over one line, with its line feed, and return at once."""
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
            except RuntimeError:  # the operating system gives no more threads now; the lines wait
                self._started.release()

    def _run(self) -> None:
        # A signal is for the main thread, which may wait for it or have blocked it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            self._is_writing = True
            while self._lines:
                self._write_some()
            self._is_writing = False
            self._is_idle = True
            # A line that was appended before the thread was idle has not woken it.
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
        """Take the oldest lines, as many as one write may have; at least one."""
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
