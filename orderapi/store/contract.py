"""What a store promises, whichever engine is behind it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from orderapi.records import Replaced
from orderapi.store.statements.transaction import ReadTx, WriteTx

__all__ = ["REQUEST_TIME_S", "ReadTx", "Restore", "Store", "WriteTx"]

T = TypeVar("T")

# A request that cannot be served by then answers 503; clients are promised an answer within 10 s.
REQUEST_TIME_S = 8.0


class Store(Protocol):
    """Transactions over orders, ledger entries, idempotency keys and events.

    `fn` is the unit of work. It may run on another thread than its caller's, so it gets plain
    values and touches neither flask, nor logging, nor a lock. `deadline` is a time of
    `time.monotonic()` in seconds; without one it is REQUEST_TIME_S from the call.
    """

    def prepare(self) -> None:
        """Make the database, or bring its schema up to date, under a lock; holds nothing after.

        Raises StoreRefused if the database is not one that this release can serve.
        """

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """Run `fn` on one snapshot. It may be run again, so it must only read.

        Raises StoreUnavailable if the store cannot be read by the deadline.
        """

    def write(self, fn: Callable[[WriteTx], T], deadline: float | None = None) -> T:
        """Run `fn` in one transaction and give its result once that is on stable storage.

        What `fn` raises undoes all that it wrote. Raises StoreUnavailable if the outcome is not
        known by the deadline: then everything was written, or nothing.
        """

    def claim_delivery(self) -> bool:
        """Become the one process that delivers events, until `close` or this process's end.

        False, with nothing held, while another process is that; never waits. Raises
        StoreUnavailable if it cannot be told.
        """

    def seconds_since_commit(self) -> float:
        """Tell how long ago this process last committed a write; infinite if never."""

    def writes_in_hand(self) -> int:
        """Tell how many of this process's writes wait for their commit."""

    def check(self) -> Iterator[str]:
        """Let the engine look for damage in its own files and give a line per finding."""

    def backup(self, target: Path, on_progress: Callable[[int, int], None]) -> None:
        """Copy everything, as it is at one moment not before the call, into an empty file.

        Writers go on meanwhile. `on_progress(done, total)` counts in units of the engine's own.
        Raises StoreUnavailable if that fails, and leaves some part in `target` then.
        """

    def close(self) -> None:
        """Let what is running end, then let go of every file."""


class Restore(Protocol):
    """A backup on its way into a store's place; no process can begin to write that store meanwhile.

    `copy` is the file that will be put there.
    """

    copy: Path

    def take(self, backup: Path, on_progress: Callable[[int, int], None]) -> None:
        """Copy a backup to `copy`, and bring its schema up to date there.

        Raises FileRefused if it is none that this release can serve, and StoreUnavailable if that
        fails.
        """

    def put_in_place(self) -> Replaced:
        """Put `copy` in the store's place, durably, and keep what was there under another name.

        Whoever dies on the way leaves the one or the other. Raises FileRefused if a process has the
        store open, and StoreUnavailable if that fails; then the store is as it was.
        """
