"""The store in one SQLite file: reading on the thread of the caller, writing in batches."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from orderapi.errors import StoreUnavailable
from orderapi.maintenance_records import StoreUsage
from orderapi.records import Claim, Event, Lease, NewOrder, Reply
from orderapi.store.contract import Measures, deadline_of
from orderapi.store.leases import Leases
from orderapi.store.sqlite import start
from orderapi.store.sqlite.connection import DRIVER_ERRORS
from orderapi.store.sqlite.database import Database
from orderapi.store.sqlite.placements import Placements
from orderapi.store.sqlite.readers import Readers
from orderapi.store.sqlite.writer import Writer
from orderapi.store.statements.transaction import ReadTx, WriteTx

T = TypeVar("T")

# One poll takes about 10 microseconds.
POLL_INTERVAL_S = 0.02


class SqliteStore:
    """See `contract.Store`. With `read_only`, the file is opened for reading alone."""

    poll_interval_s = POLL_INTERVAL_S

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._database = Database(path, "ro" if read_only else "rw")
        self._readers = Readers(self._database)
        self._writer = Writer(self._database)
        self._placements = Placements(self._readers, self._writer)
        self._leases = Leases(self.read_one, self.write, self._database.files.lease_file)

    def prepare(self) -> None:
        """See `contract.Store`."""
        start.prepare(self._database.files, self._database.known, self._can_be_read)

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`."""
        return self._readers.run(lambda connection: fn(connection.tx), deadline)

    def read_one(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`."""
        return self._readers.run_one(fn, deadline)

    def write(self, fn: Callable[[WriteTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`."""
        result: T = self._writer.run(fn, deadline_of(deadline))
        return result

    def place(
        self,
        claim: Claim,
        new_order: NewOrder,
        traceparent: str | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """See `contract.Store`."""
        return self._placements.place(claim, new_order, traceparent, deadline_of(deadline))

    def lease(self, name: str) -> Lease | None:
        """See `contract.Store`."""
        return self._leases.lease(name)

    def seconds_since_commit(self) -> float:
        """See `contract.Store`."""
        return self._writer.stats.seconds_since_commit()

    def writes_in_hand(self) -> int:
        """See `contract.Store`."""
        return self._writer.in_hand()

    def settled_events(self, events: list[Event]) -> list[Event]:
        """See `contract.Store`. A reader sees nothing that is not on the disk."""
        return events

    def usage(self) -> StoreUsage:
        """See `contract.Store`."""
        return self._database.files.usage()

    def measure_with(self, measures: Measures) -> None:
        """See `contract.Store`."""
        self._writer.stats.report_to(measures)

    def close(self) -> None:
        """See `contract.Store`."""
        self._leases.close()
        has_stopped = self._writer.stop()
        self._readers.close()
        # A write that is stuck may still use its connection and the lock file.
        if has_stopped:
            self._writer.close()
            self._database.files.close()

    def _can_be_read(self) -> bool:
        try:
            self._database.open_reader().close()
        except (StoreUnavailable, *DRIVER_ERRORS):
            return False
        return True
