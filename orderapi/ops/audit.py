"""`audit`: prove exactly-once on the whole database, while it is being served."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from orderapi.errors import StoreCorrupt
from orderapi.ops.audit_events import check_events
from orderapi.ops.audit_rows import Row, check_range, show
from orderapi.store.contract import ReadTx
from orderapi.store.maintenance import Auditable
from orderapi.store.statements.audit import AUDITED_COLUMNS, ClientKey

# Orders per snapshot: about 20 ms of reading, as long as a checkpoint waits for its readers.
RANGE_ORDERS = 2_000
# Of keys, which are read from an index alone.
RANGE_KEYS = 5_000
# After damage ranges shrink by this factor, down to the one order, and grow again.
_ZOOM = 8


def audit(store: Auditable, on_progress: Callable[[int, int], None]) -> Iterator[str]:
    """Read the whole store and give a line per finding, which names table and row.

    It proves, for every order that was there when it came by:

    - the order has exactly one ledger entry, one idempotency record and one event, each of which
      says what the order says; the saved answer is byte for byte what the service would answer,
      the hash is that of the order's payload, and no such row is there without its order;
    - event numbers go from 1 to the last without a gap, and no event's id and no client's key is
      there twice;
    - the engine finds no damage, no reference into nothing, and the schema as it was made
      (`store.check()`, at the end and without progress).

    `on_progress(done, total)` counts orders; both may grow while orders come in. Everything is
    read in ranges, each in a snapshot of its own, so that nothing is held back: all rows of an
    order come in one commit, so one snapshot has them all or none. Orders that come in behind the
    audit are left to the next one; every id is greater than those before, so that none is missed.

    Raises StoreUnavailable if the store cannot be read at all; damage is a finding, not an error.
    """
    yield from _check_orders(store, on_progress)
    yield from check_events(store)
    yield from _check_keys(store)
    # Last, not beside the rest: readers that overlap would keep the WAL from ever being reset. By
    # now the system's cache holds what was read, so that its long snapshots are as short as may be.
    yield from store.check()


@dataclass(frozen=True, slots=True)
class _Range:
    """All rows of a range of orders, and where the next range starts; None after the last."""

    next_start: str | None
    rows: dict[str, list[Row]]
    last_sequence: int


def _check_orders(store: Auditable, on_progress: Callable[[int, int], None]) -> Iterator[str]:
    start: str | None = ""
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
        # One event each: the last number counts the orders, without reading them.
        on_progress(done, max(done, found.last_sequence))


def _read_range(tx: ReadTx, start: str, size: int) -> _Range:
    end = tx.audit.find_range_end(start, size)
    if not _is_after(end, start):
        raise StoreCorrupt(f"orders are not sorted after {start!r}")
    rows = {table: tx.audit.list_range(table, start, end) for table in AUDITED_COLUMNS}
    return _Range(end, rows, tx.events.last_sequence())


def _is_after(end: object, start: str) -> bool:
    # In a damaged database anything may come back, and the walk must go on to its end.
    return end is None or (isinstance(end, str) and end > start)


# Damage: single out the orders whose rows cannot be read.


def _name_damage(store: Auditable, start: str) -> tuple[list[str], str | None]:
    """Try the next order of each table and say what failed, and where to go on; None at the end."""
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
        findings.append(f"orders after order_id {show(start)}: could not be searched for")
    return findings, end


def _next_order_id(tx: ReadTx, table: str, after: str) -> str | None:
    order_id = tx.audit.find_next_order_id(table, after)
    if not _is_after(order_id, after):
        raise StoreCorrupt("its order ids are not sorted")
    return order_id


def _list_range(tx: ReadTx, table: str, start: str, end: str | None) -> None:
    tx.audit.list_range(table, start, end)


# Keys, which are unique over the whole store.


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
                f" is there {len(order_ids)} times, for {', '.join(map(show, order_ids))}"
            )
        start = end


def _list_repeated(
    tx: ReadTx, start: ClientKey
) -> tuple[ClientKey | None, dict[ClientKey, list[str]]]:
    end = tx.audit.find_key_range_end(start, RANGE_KEYS)
    repeated = tx.audit.list_repeated_keys(start, end)
    return end, {key: tx.audit.list_orders_of_key(*key) for key in repeated}
