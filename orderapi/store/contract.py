"""What a store promises to its callers, on each engine."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from orderapi.maintenance_records import StoreUsage
from orderapi.records import Claim, Event, Lease, NewOrder, Reply
from orderapi.store.statements.transaction import ReadTx, WriteTx

__all__ = [
    "ANSWER_MAX_S",
    "REQUEST_TIME_S",
    "Measures",
    "ReadTx",
    "Store",
    "WriteTx",
    "deadline_of",
]

T = TypeVar("T")

# The contract promises clients an answer within this time after the last byte of the request.
ANSWER_MAX_S = 10.0
# A request whose store has not finished by then answers 503. The rest of ANSWER_MAX_S is for
# everything else that a request does.
REQUEST_TIME_S = 8.0
assert REQUEST_TIME_S < ANSWER_MAX_S


def deadline_of(given: float | None) -> float:
    """Return a deadline that was given, or the default: REQUEST_TIME_S from now."""
    return time.monotonic() + REQUEST_TIME_S if given is None else given


class Measures(Protocol):
    """What a store reports of its writing, for the metrics.

    It is called where the batch is run (under gevent: in the event loop), never on a native thread.
    """

    def note_batch(self, size: int, commit_s: float) -> None:
        """Note that `size` writes shared a commit, which took `commit_s` seconds."""

    def note_lock_wait(self, wait_s: float) -> None:
        """Note how many seconds a batch waited until other processes let it write."""


class Store(Protocol):
    """Transactions over orders, ledger entries, idempotency keys and events.

    `fn` is the unit of work. It may run on another thread than the thread of its caller. Therefore
    it gets plain values, and it uses neither flask, nor logging, nor a lock. `deadline` is a time
    of `time.monotonic()` in seconds. The default is REQUEST_TIME_S after the call. An engine whose
    database is on another machine gives a read at least 1 s, even if its deadline is earlier.
    """

    # How many seconds a process that waits for new rows pauses between two reads.
    poll_interval_s: float

    def prepare(self) -> None:
        """Make the database, or bring its schema up to date, under a lock. Nothing stays open.

        Raises StoreRefused if this release cannot serve the database.
        """

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """Run `fn` on one snapshot. `fn` may be run a second time, so it must only read.

        Raises StoreUnavailable if the store cannot be read by the deadline.
        """

    def read_one(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """Run `fn`, which runs one statement at most. This costs less than `read`.

        Raises StoreUnavailable as `read` does, and RuntimeError if `fn` ran several statements,
        because each of them saw a snapshot of its own.
        """

    def write(self, fn: Callable[[WriteTx], T], deadline: float | None = None) -> T:
        """Run `fn` in one transaction, and return its result once that is on stable storage.

        An exception in `fn` undoes all that `fn` wrote. `fn` is run again after a failure of the
        engine that has undone everything. `fn` must run no statement after one has failed.

        Raises StoreUnavailable if the outcome is not known by the deadline. In this case either
        everything was written, or nothing.
        """

    def place(
        self,
        claim: Claim,
        new_order: NewOrder,
        traceparent: str | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """Place an order exactly once, or give the first answer to its claim again.

        This has the effects of `orders.place_order` in one transaction. It returns once they are on
        stable storage. Orders that wait at the same time share a transaction. A replay may be
        answered from a read. `traceparent` names the trace of the request.

        Raises KeyReused if the key belongs to another payload, and StoreUnavailable as `write`
        does.
        """

    def settled_events(self, events: list[Event]) -> list[Event]:
        """Return the events that no failover can lose. Callers may deliver only these events.

        `events` are the result of a read, in the order of their numbers. The result has all of
        them, or only the first ones if the store cannot be written now. After a failover that has
        lost an event, another event may get its number. Raises StoreUnavailable if the store cannot
        be read.
        """

    def lease(self, name: str) -> Lease | None:
        """Take the lease `name`, or confirm that this store has it. The call waits for no holder.

        At most one store at a time has a lease, over all processes and machines. The result is None
        if another store has it. This store keeps the lease, and renews it, until `close` or until
        the end of its process. It loses the lease if its process is suspended for longer than the
        lease lasts, and if another store takes it then. A call after that gives None, even if the
        lease is free again.

        The holder may be suspended between this call and what it does next. Therefore a transaction
        that only the holder may commit calls `tx.leases.renew(lease)`, and commits nothing if the
        result is False. Raises StoreUnavailable if this cannot be decided.
        """

    def seconds_since_commit(self) -> float:
        """Return how long ago this process last committed a write. It is infinite before that."""

    def writes_in_hand(self) -> int:
        """Return how many writes of this process wait for their commit."""

    def usage(self) -> StoreUsage:
        """Return how much storage the store uses. Raises StoreUnavailable if that is not known."""

    def measure_with(self, measures: Measures) -> None:
        """Report every batch of writes to `measures` from now on."""

    def close(self) -> None:
        """Wait for the writes that are running, then close every file and give up every lease."""
