"""The standard streams of a command. No failure of a stream interrupts the work of the command.

A stream may be closed, the disk behind it may be full, or its reader may have left (`| head`).
"""

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_STDIN, _STDOUT, _STDERR = 0, 1, 2


@contextmanager
def protected() -> Iterator[None]:
    """Protect the `with` block from failures of the standard streams.

    Output that cannot be written is discarded. At the end, one line on stderr reports this, unless
    the reader has left or the stream was closed from the beginning. If a program has replaced
    `sys.stdout` or `sys.stderr`, its objects are not changed.
    """
    # The order matters: an open file gets the lowest free number.
    _fill_if_closed(_STDIN)
    if sys.stdin is None:
        sys.stdin = open(_STDIN, closefd=False)  # noqa: SIM115 - a descriptor, for ever
    before = sys.stdout, sys.stderr
    streams: list[_Output] = []
    if sys.stdout is sys.__stdout__:
        streams.append(_Output(_STDOUT, is_closed=_fill_if_closed(_STDOUT)))
        sys.stdout = _text(streams[-1], before[0])
    if sys.stderr is sys.__stderr__:
        streams.append(_Output(_STDERR, is_closed=_fill_if_closed(_STDERR)))
        sys.stderr = _text(streams[-1], before[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        _report_failure(streams)
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def output_is_lost() -> bool:
    """Return whether some output of this command could not be written to stdout."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Output) and raw.error is not None


class _Output(io.RawIOBase):
    """Writes to a descriptor. It discards what cannot be written, and keeps the first error."""

    def __init__(self, descriptor: int, *, is_closed: bool) -> None:
        self.descriptor = descriptor
        self.error = OSError(errno.EBADF, os.strerror(errno.EBADF)) if is_closed else None

    def writable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def fileno(self) -> int:
        """See `io.RawIOBase`."""
        return self.descriptor

    def isatty(self) -> bool:
        """See `io.RawIOBase`."""
        return os.isatty(self.descriptor)

    def write(self, data: memoryview) -> int:  # type: ignore[override]  # BufferedWriter passes this
        """See `io.RawIOBase`. A failure of the stream raises nothing."""
        while True:
            try:
                return os.write(self.descriptor, data)
            except BlockingIOError:  # another process has made the descriptor non-blocking
                select.select([], [self.descriptor], [])
            except OSError as error:
                self.error = self.error or error
                return len(data)


def _text(output: _Output, before: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(output),  # type: ignore[type-var]  # the stub asks for more than `io` does
        encoding="utf-8" if before is None else before.encoding,
        # A file name may contain bytes that are no text.
        errors="backslashreplace",
        line_buffering=output.descriptor == _STDERR or output.isatty(),
    )


def _fill_if_closed(descriptor: int) -> bool:
    """Open `/dev/null` if a stream is closed, and return whether it was closed.

    Otherwise the next file that the command opens would get the number of this stream. A message of
    the C library would then be written into a database.
    """
    try:
        os.fstat(descriptor)
    except OSError:
        filled = os.open(os.devnull, os.O_RDWR)
        assert filled == descriptor, "the lower descriptors are open"
        return True
    return False


def _report_failure(streams: list[_Output]) -> None:
    for stream in streams:
        if stream.error is not None and stream.error.errno not in (errno.EPIPE, errno.EBADF):
            name = {_STDOUT: "stdout", _STDERR: "stderr"}[stream.descriptor]
            sys.stderr.write(f"Error: cannot write to {name}: {stream.error.strerror}\n")
