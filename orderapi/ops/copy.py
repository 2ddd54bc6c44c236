"""`copy` moves everything from one store into another one, also between engines."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from orderapi.errors import FileRefused
from orderapi.ops.backup import OnProgress, is_sound
from orderapi.store.copying import CopySource, CopyTarget, CopyWriter, TargetState, copy_all
from orderapi.store.statements.copies import GROWING_TABLES, CopyReads

COPYING = "copying rows"


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a copy has done.

    `rows` is how many rows of orders, ledger, keys and events this run has copied. `found` is how
    many an interrupted run had copied before. `is_sound` tells that the audit had no finding. If
    the copy `is_finished`, services can use the target.
    """

    rows: int
    found: int
    is_sound: bool
    is_finished: bool


def copy(
    source: CopySource,
    target: CopyTarget,
    names: tuple[str, str],
    on_progress: OnProgress,
    on_finding: Callable[[str], None],
    *,
    is_ahead: bool = False,
) -> CopyResult | None:
    """Copy a whole store. Returns None if the target has everything already, and changes nothing.

    If the copy `is_ahead`, its source is an older state of the store, for example a backup. It is
    audited and stays unfinished. A later copy of the store itself has less to copy and to audit.

    A service does not start on the target before all rows are there and their audit has no finding.
    A copy that was interrupted at any moment is continued by the next one. `names` are the URLs of
    both stores, without a password.

    `on_progress(stage, done, total)` counts rows, and then orders. Raises FileRefused or
    StoreRefused if the copy is refused, and StoreUnavailable if it fails.
    """
    with source.snapshot() as snapshot:
        rows, state = snapshot.reads, target.state()
        if state is TargetState.IN_USE:
            _refuse_other_orders(rows, target, names)
            return None
        with target.begin_copy(names[0]) as writer:
            _refuse_other_copy(rows, writer.reads(), names)
            copied, found = copy_all(rows, writer, partial(on_progress, COPYING))
            first = writer.find_audit_position()
            before = writer.reads().count_before(GROWING_TABLES[0], first)
            with writer.open_for_audit() as auditable:
                if not is_sound(
                    auditable, _add_to_progress(before, on_progress), on_finding, first
                ):
                    return CopyResult(copied, found, is_sound=False, is_finished=False)
            snapshot.refuse_opened()
            if is_ahead:
                _note_audit(rows, writer)
            else:
                writer.finish()
    return CopyResult(copied, found, is_sound=True, is_finished=not is_ahead)


def _add_to_progress(before: int, on_progress: OnProgress) -> OnProgress:
    """Count the orders that were audited before, too."""
    return lambda stage, done, total: on_progress(stage, before + done, max(before + done, total))


def _note_audit(rows: CopyReads, writer: CopyWriter) -> None:
    # The last order itself is audited again, which costs nothing.
    orders = GROWING_TABLES[0]
    last = rows.find_last(orders)
    if last is not None:
        writer.note_audit(orders.key_of(last))


def _refuse_other_orders(rows: CopyReads, target: CopyTarget, names: tuple[str, str]) -> None:
    """Refuse a target in use, unless it has the last row of each table, and so all rows before."""
    if rows.is_empty():
        raise FileRefused(
            f"{names[0]} has no order and no token, but {names[1]} is in use: check SOURCE_URL,"
            " or copy into an empty database"
        )
    with target.open_reads() as reads:
        has_all = rows.find_token_hashes() <= reads.find_token_hashes() and all(
            last is None or reads.has(table, last)
            for table in GROWING_TABLES
            for last in (rows.find_last(table),)
        )
    if not has_all:
        raise FileRefused(
            f"{names[1]} is not empty, and it is not a copy of {names[0]}: copy into an empty"
            " database"
        )


def _refuse_other_copy(rows: CopyReads, reads: CopyReads, names: tuple[str, str]) -> None:
    for table in GROWING_TABLES:
        last = reads.find_last(table)
        if last is not None and not rows.has(table, last):
            raise FileRefused(
                f"{names[1]} is an unfinished copy of another store: its last row of {table.name}"
                f" is not in {names[0]}"
            )
