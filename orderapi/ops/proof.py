"""The audit of one order: each check by name. The checks are those of `audit`."""

from collections.abc import Iterator
from dataclasses import dataclass

from orderapi.ops.audit_events import check_run
from orderapi.ops.audit_rows import check_repetition, checks_of_order, show
from orderapi.store.contract import ReadTx
from orderapi.store.statements.audit import AUDITED_COLUMNS


@dataclass(frozen=True, slots=True)
class Check:
    """What a check proves, and its findings. A check without findings has passed."""

    name: str
    findings: tuple[str, ...]


def prove_order(tx: ReadTx, order_id: str) -> list[Check]:
    """Run every check of the audit that concerns one order, on one snapshot.

    `audit` also compares the ids of all events, and lets the engine search its files for damage.
    Both need the whole database. Returns no check if there is no such order.
    """
    rows = {table: tx.lookup.list_audited_rows(table, order_id) for table in AUDITED_COLUMNS}
    if not rows["orders"]:
        return []
    row, *repeated = rows["orders"]
    checks = [Check("the order is stored once", tuple(check_repetition(repeated)))]
    checks += [Check(name, tuple(findings)) for name, findings in checks_of_order(row, rows)]
    checks.append(Check("no other order has its key", tuple(_check_keys(tx, order_id))))
    numbers = tuple(_check_numbers(tx, order_id))
    checks.append(
        Check("the numbers of its event and of both neighbours follow each other", numbers)
    )
    return checks


def _check_keys(tx: ReadTx, order_id: str) -> Iterator[str]:
    for record in tx.lookup.list_idempotency_records_of_order(order_id):
        others = [
            other
            for other in tx.audit.list_orders_of_key(record.client_id, record.key)
            if other != order_id
        ]
        if others:
            yield (
                f"idempotency_keys idempotency_key {show(record.key)} client_id"
                f" {show(record.client_id)}: is also the key of order_id"
                f" {', '.join(map(show, others))}"
            )


def _check_numbers(tx: ReadTx, order_id: str) -> Iterator[str]:
    for event in tx.lookup.list_events_of_order(order_id):
        first = max(1, event.sequence - 1)
        run = tx.audit.list_sequences(first, event.sequence - first + 2)
        yield from check_run(run, first, None)
