"""The writer of the log never lets its callers wait, and it reports the lines that it dropped."""

import _thread
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from orderapi.log_writer import HELD_MAX_LINES, WRITE_MAX_BYTES, LogWriter
from tests.support.waiting import wait_until

LINE = b"%05d " + b"x" * 90 + b"\n"
DROPPED = b"dropped "


class Pipe:
    """A pipe whose reader is this test."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._received: list[bytes] = []
        self._rest = b""

    def read(self, count: int) -> list[bytes]:
        """Wait until `count` lines have arrived, and return them."""
        while len(self._received) < count:
            *lines, self._rest = (self._rest + os.read(self.reader, 65536)).split(b"\n")
            self._received += [line + b"\n" for line in lines]
        lines, self._received = self._received[:count], self._received[count:]
        return lines

    def is_empty(self) -> bool:
        os.set_blocking(self.reader, False)
        with suppress(BlockingIOError):
            return not os.read(self.reader, 1)
        os.set_blocking(self.reader, True)
        return True


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reader, pipe.writer):
        with suppress(OSError):
            os.close(descriptor)


def new_writer(descriptor: int) -> LogWriter:
    return LogWriter(descriptor, lambda count: DROPPED + b"%d\n" % count, _thread)


def test_lines_arrive_whole_and_in_order(pipe: Pipe) -> None:
    writer = new_writer(pipe.writer)
    for number in range(3000):
        writer.write(LINE % number)
    assert pipe.read(3000) == [LINE % number for number in range(3000)]


def test_a_line_that_comes_after_a_pause_arrives_too(pipe: Pipe) -> None:
    writer = new_writer(pipe.writer)
    for number in range(20):
        writer.write(LINE % number)
        assert pipe.read(1) == [LINE % number]


def test_a_pipe_without_a_reader_blocks_no_writer_and_drops_only_counted_lines(pipe: Pipe) -> None:
    writer = new_writer(pipe.writer)
    count = HELD_MAX_LINES * 2
    for number in range(count):
        writer.write(LINE % number)
    # This ends after DRAIN_MAX_S, although nothing can be written.
    writer.drain()
    received: list[bytes] = []
    dropped = 0
    while len(received) + dropped < count:
        for line in pipe.read(1):
            if line.startswith(DROPPED):
                dropped += int(line.split()[1])
            else:
                received.append(line)
    assert dropped > 0
    assert len(received) >= HELD_MAX_LINES
    assert received == sorted(set(received))
    # Later lines are written again.
    writer.write(b"later\n")
    assert pipe.read(1) == [b"later\n"]


def test_draining_ends_when_all_is_written(pipe: Pipe) -> None:
    writer = new_writer(pipe.writer)
    for number in range(100):
        writer.write(LINE % number)
    writer.drain()
    os.close(pipe.writer)
    assert pipe.read(100) == [LINE % number for number in range(100)]


def test_no_write_is_larger_than_a_pipe_keeps_together(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers share one pipe. A larger write could be mixed with the line of another worker."""
    sizes: list[int] = []
    write = os.write

    def noting(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noting)
    writer = new_writer(pipe.writer)
    for number in range(500):
        writer.write(LINE % number)
    pipe.read(500)
    assert len(sizes) < 500
    assert max(sizes) <= WRITE_MAX_BYTES
    sizes.clear()
    long = b"y" * 10_000 + b"\n"
    writer.write(LINE % 1)
    writer.write(long)
    assert pipe.read(2)[1] == long


def test_a_descriptor_that_does_not_block_loses_no_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, 4096)
    writer = new_writer(pipe.writer)
    for number in range(1000):
        writer.write(LINE % number)
    assert pipe.read(1000) == [LINE % number for number in range(1000)]


def test_lines_that_cannot_be_written_are_counted() -> None:
    """The file is /dev/full, which fails like a full disk."""
    reader, device = os.pipe()
    full = os.open("/dev/full", os.O_WRONLY)
    writing = os.dup(full)
    writer = new_writer(writing)
    for number in range(10):
        writer.write(LINE % number)
    writer.drain()
    # The disk has space again.
    os.dup2(device, writing)
    writer.write(b"later\n")
    assert os.read(reader, 100).startswith(b"later\n")
    wait_until(lambda: writer._reported == 10)
    for descriptor in (reader, device, full, writing):
        os.close(descriptor)


def test_a_child_writes_its_own_lines_and_not_those_of_its_parent(pipe: Pipe) -> None:
    fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, 4096)
    writer = new_writer(pipe.writer)
    # The thread of the parent blocks, and lines are left in its buffer.
    for number in range(200):
        writer.write(LINE % number)
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            writer.write(b"child\n")
            signal.pause()
        os._exit(1)
    try:
        lines = pipe.read(201)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert lines.count(b"child\n") == 1
    lines.remove(b"child\n")
    assert lines == [LINE % number for number in range(200)]
    assert pipe.is_empty()
