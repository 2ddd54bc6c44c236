"""What each engine gives to a copy of a whole store into another one."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from orderapi.store.maintenance import Auditable, OnProgress
from orderapi.store.statements.copies import (
    CHANGING_TABLES,
    GROWING_TABLES,
    ChangingTable,
    CopyReads,
    GrowingTable,
)
from orderapi.store.statements.execution import Row

# The rows of one transaction. After a kill, at most this many rows are copied again.
BATCH_ROWS = 2_000


class TargetState(Enum):
    """What the target of a copy contains."""

    # No table of orderapi, or only empty ones.
    EMPTY = "empty"
    # A copy that has begun and has not ended.
    UNFINISHED = "unfinished"
    # A store that has orders or tokens.
    IN_USE = "in use"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store as it is at one moment. Every read raises StoreUnavailable if it fails.

    `refuse_opened` raises FileRefused if a service has opened the store since. Such a service would
    write to it as soon as the snapshot ends.
    """

    reads: CopyReads
    refuse_opened: Callable[[], None]


class CopySource(Protocol):
    """A store that is copied."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Take a snapshot of the store. No process can write to the store until the block ends.

        Raises FileRefused or StoreRefused if a process has the store open, or if this release
        cannot read it, and StoreUnavailable if it fails.
        """


class CopyTarget(Protocol):
    """The store into which everything is copied."""

    def state(self) -> TargetState:
        """Tell what the target contains. This changes nothing.

        Raises StoreRefused or FileRefused if it is a database of another program, and
        StoreUnavailable if it cannot be read.
        """

    def open_reads(self) -> AbstractContextManager[CopyReads]:
        """Read the store while others use it. `state` must be IN_USE."""

    def begin_copy(self, source: str) -> AbstractContextManager["CopyWriter"]:
        """Mark the target as an unfinished copy of `source`, and make its tables.

        `source` is the name of the store that is copied, for people. A service does not start on
        the target from then on, until `CopyWriter.finish`. Raises FileRefused if a process has the
        target open or if another copy is being made in it, and StoreRefused if this release cannot
        serve it.
        """


class CopyWriter(Protocol):
    """Writes a copy into its target. Each call is durable when it returns.

    Every method raises StoreUnavailable if it fails. The next copy continues after the last row.
    """

    def reads(self) -> CopyReads:
        """Give the statements that read the target."""

    def add_rows(self, table: GrowingTable, rows: Sequence[Row]) -> None:
        """Add rows to a table, all of them or none. Raises FileRefused if one is refused."""

    def replace_rows(self, tables: Sequence[tuple[ChangingTable, Sequence[Row]]]) -> None:
        """Replace all rows of some tables, all of them or none."""

    def find_audit_position(self) -> str:
        """Return the order id before which all orders were audited. It is empty if none was."""

    def note_audit(self, order_id: str) -> None:
        """Record that the audit of all orders before this one had no finding."""

    def open_for_audit(self) -> AbstractContextManager[Auditable]:
        """Open the copy for an audit, after its last row was added."""

    def finish(self) -> None:
        """Let services use the target from now on."""


def copy_all(reads: CopyReads, writer: CopyWriter, on_progress: OnProgress) -> tuple[int, int]:
    """Copy every row that the target does not have yet.

    Returns the number of rows that were copied, and the number of rows that were there before.
    `on_progress(done, total)` counts rows.
    """
    found = done = sum(map(writer.reads().count, GROWING_TABLES))
    total = sum(map(reads.count, GROWING_TABLES))
    on_progress(done, total)
    for table in GROWING_TABLES:
        key = _last_key(table, writer.reads())
        while batch := reads.list_after(table, key, BATCH_ROWS):
            writer.add_rows(table, batch)
            key = table.key_of(batch[-1])
            done += len(batch)
            on_progress(done, total)
    writer.replace_rows([(table, reads.list_all(table)) for table in CHANGING_TABLES])
    return done - found, found


def _last_key(table: GrowingTable, reads: CopyReads) -> str | int:
    last = reads.find_last(table)
    key: str | int = table.start if last is None else table.key_of(last)
    return key
