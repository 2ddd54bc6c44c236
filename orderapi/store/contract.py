"""What a store promises, whichever engine is behind it."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from orderapi.store.tx import ReadTx, WriteTx

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

    def seconds_since_commit(self) -> float:
        """Tell how long ago this process last committed a write; infinite if never."""

    def check(self) -> Iterator[str]:
        """Let the engine look for damage in its own files and give a line per finding."""

    def close(self) -> None:
        """Let what is running end, then let go of every file."""
