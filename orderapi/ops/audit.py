"""`audit` proves exactly-once effects on the whole database, while a service uses it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from orderapi.errors import StoreCorrupt
from orderapi.ops.audit_events import check_events
from orderapi.ops.audit_rows import Row, check_range, show
from orderapi.store.contract import ReadTx
from orderapi.store.maintenance import Auditable
from orderapi.store.statements.audit import AUDITED_COLUMNS, ClientKey

# The orders of one snapshot. Reading them takes about 20 ms, as long as a checkpoint waits for
# readers.
RANGE_ORDERS = 2_000
# The keys of one snapshot. They are read from an index only.
RANGE_KEYS = 5_000
# After damage, ranges shrink by this factor until one order is left. Then they grow again.
_ZOOM = 8


def audit(
    store: Auditable, on_progress: Callable[[int, int], None], first: str = ""
) -> Iterator[str]:
    """Read the whole store and yield one line for each finding, which names the table and the row.

    The audit proves the following for every order that exists when the audit reaches its range:

    - The order has exactly one ledger entry, one idempotency record and one event. Each of these
      rows agrees with the order: the saved answer is byte for byte the answer of the service, and
      the hash is that of the order's payload. No such row exists without its order.
    - The sequence numbers of events go from 1 to the last without a gap, in the order of the
      commits. No event id and no key of a client occurs twice.
    - The engine finds no damage and no reference to a missing row, and the schema is the one that
      the migrations made. This is `store.check()`, which runs at the end and without progress.

    With `first`, the rows of the orders before this id are not compared, because another audit did
    this. `on_progress(done, total)` counts orders. Both numbers may grow while new orders are
    committed.
    Every range is read in a snapshot of its own, so that no checkpoint waits for the whole audit.
    All rows of an order belong to one commit, so a snapshot contains all of them or none. Each id
    is greater than all ids before it, so the audit misses no order. Orders that are committed
    behind the range that it reads are left to the next audit.

    Raises StoreUnavailable if the store cannot be read at all. Damage is a finding, not an error.
    """
    yield from _check_orders(store, on_progress, first)
    yield from check_events(store)
    yield from _check_keys(store)
    # This runs after the ranges, not beside them, because overlapping readers would prevent every
    # reset of the WAL. At this point the page cache contains the database, so that the long
    # snapshots of this check are as short as possible.
    yield from store.check()


@dataclass(frozen=True, slots=True)
class _Range:
    """All rows of a range of orders, and the start of the next range. It is None after the last."""

    next_start: str | None
    rows: dict[str, list[Row]]
    last_sequence: int


def _check_orders(
    store: Auditable, on_progress: Callable[[int, int], None], first: str
) -> Iterator[str]:
    start: str | None = first
    size = RANGE_ORDERS
    done = 0
    on_progress(0, 0)
    while start is not None:
        try:
            found = store.read(partial(_read_range, start=start, size=size))
        except StoreCorrupt:
            if size > 1:
                size = max(1, size // _ZOOM)
            else:
                findings, start = _name_damage(store, start)
                yield from findings
            continue
        yield from check_range(found.rows)
        start = found.next_start
        size = min(RANGE_ORDERS, size * _ZOOM)
        done += len(found.rows["orders"])
        # Each order has one event, so the last sequence number is the number of orders.
        on_progress(done, max(done, found.last_sequence))


def _read_range(tx: ReadTx, start: str, size: int) -> _Range:
    end = tx.audit.find_range_end(start, size)
    if not _is_after(end, start):
        raise StoreCorrupt(f"the order ids after {start!r} are not sorted")
    rows = {table: tx.audit.list_range(table, start, end) for table in AUDITED_COLUMNS}
    return _Range(end, rows, tx.events.last_sequence())


def _is_after(end: object, start: str) -> bool:
    # A damaged database may return any value here, and the audit must still reach its end.
    return end is None or (isinstance(end, str) and end > start)


# Damage: find the orders whose rows cannot be read.


def _name_damage(store: Auditable, start: str) -> tuple[list[str], str | None]:
    """Read the next order in each table. Return the findings, and where to continue or None."""
    findings: list[str] = []
    ends: list[str] = []
    for table in AUDITED_COLUMNS:
        try:
            end = store.read(partial(_next_order_id, table=table, after=start))
            if end is not None:
                ends.append(end)
        except StoreCorrupt as error:
            findings.append(f"{table} after order_id {show(start)}: {error.reason}")
    end = min(ends, default=None)
    for table in AUDITED_COLUMNS:
        try:
            store.read(partial(_list_range, table=table, start=start, end=end))
        except StoreCorrupt as error:
            findings.append(f"{table} of order_id {show(start)}: cannot be read: {error.reason}")
    if end is None and findings:
        findings.append(
            f"orders after order_id {show(start)}: cannot be found because of the damage"
        )
    return findings, end


def _next_order_id(tx: ReadTx, table: str, after: str) -> str | None:
    order_id = tx.audit.find_next_order_id(table, after)
    if not _is_after(order_id, after):
        raise StoreCorrupt("its order ids are not sorted")
    return order_id


def _list_range(tx: ReadTx, table: str, start: str, end: str | None) -> None:
    tx.audit.list_range(table, start, end)


# Keys, which are unique in the whole store.


def _check_keys(store: Auditable) -> Iterator[str]:
    start: ClientKey | None = ("", "")
    while start is not None:
        try:
            end, repeated = store.read(partial(_list_repeated, start=start))
        except StoreCorrupt as error:
            yield f"idempotency_keys from {show(start)} on: cannot be read: {error.reason}"
            return
        for (client_id, key), order_ids in repeated.items():
            yield (
                f"idempotency_keys idempotency_key {show(key)} client_id {show(client_id)}:"
                f" occurs {len(order_ids)} times, for order_id {', '.join(map(show, order_ids))}"
            )
        start = end


def _list_repeated(
    tx: ReadTx, start: ClientKey
) -> tuple[ClientKey | None, dict[ClientKey, list[str]]]:
    end = tx.audit.find_key_range_end(start, RANGE_KEYS)
    repeated = tx.audit.list_repeated_keys(start, end)
    return end, {key: tx.audit.list_orders_of_key(*key) for key in repeated}
