"""The statements of the audit. It reads every row in ranges, and each range in a short snapshot."""

from collections.abc import Sequence
from typing import Any

from orderapi.store.statements.execution import Execute

ClientKey = tuple[str, str]

# What the audit reads of each table that belongs to an order. The first column names the row, and
# the last one is its time. The order decides what the columns between them contain.
AUDITED_COLUMNS = {
    "orders": (
        "order_id", "client_id", "customer_id", "item_id", "quantity", "status", "created_at",
    ),
    "ledger": (
        "ledger_id", "order_id", "customer_id", "item_id", "quantity", "entry_type", "created_at",
    ),
    "idempotency_keys": (
        "idempotency_key", "client_id", "order_id", "request_hash", "status_code",
        "response_body", "created_at",
    ),
    "events": ("sequence", "type", "order_id", "client_id", "payload", "created_at"),
}  # fmt: skip

_ENDS = " UNION ALL ".join(
    f"SELECT order_id FROM (SELECT DISTINCT order_id FROM {table} WHERE order_id >= :start"  # noqa: S608 - constants of ours
    f" ORDER BY order_id LIMIT 1 OFFSET :size) AS end_of_{table}"
    for table in AUDITED_COLUMNS
)


class AuditReads:
    """The statements of the audit, on one snapshot.

    A range of orders is `start <= order_id < end`. If `end` is None, the range has no end. The
    first range starts at the empty text, and each further range starts where the one before it
    ended. So all ranges together contain every row.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_range_end(self, start: str, size: int) -> str | None:
        """Find the end of a range in which no table names more than `size` different orders.

        Returns None if no table names that many orders from `start` on.
        """
        ((end,),) = self._execute(
            f"SELECT MIN(order_id) FROM ({_ENDS}) AS ends",  # noqa: S608 - constants of ours
            {"start": start, "size": size},
        )
        return end  # type: ignore[no-any-return]

    def find_next_order_id(self, table: str, after: str) -> str | None:
        """Find the smallest order id after `after` in a table. Returns None if there is none."""
        ((order_id,),) = self._execute(
            f"SELECT MIN(order_id) FROM {table} WHERE order_id > :after",  # noqa: S608 - of AUDITED_COLUMNS
            {"after": after},
        )
        return order_id  # type: ignore[no-any-return]

    def list_range(self, table: str, start: str, end: str | None) -> list[Sequence[Any]]:
        """List the AUDITED_COLUMNS of a table for a range of orders, sorted by order_id."""
        before_end = "" if end is None else " AND order_id < :end"
        rows = self._execute(
            f"SELECT {', '.join(AUDITED_COLUMNS[table])} FROM {table}"  # noqa: S608 - constants of ours
            f" WHERE order_id >= :start{before_end} ORDER BY order_id",
            {"start": start, "end": end},
        )
        return list(rows)

    def list_sequences(self, start: int, size: int) -> list[tuple[int, int, object, object]]:
        """List the first `size` event numbers from `start` on.

        Each number comes with the number of its events, and with the event_id and the order_id of
        one of them.
        """
        rows = self._execute(
            "SELECT sequence, COUNT(*), MIN(event_id), MIN(order_id) FROM events"
            " WHERE sequence >= :start GROUP BY sequence ORDER BY sequence LIMIT :size",
            {"start": start, "size": size},
        )
        return [
            (sequence, times, event_id, order_id) for sequence, times, event_id, order_id in rows
        ]

    def has_repeated_event_ids(self, digits: str) -> bool:
        """Tell whether several events have one id, among the ids that end with one of `digits`."""
        repeated, parameters = _repeated_event_ids(digits)
        return bool(list(self._execute(f"{repeated} LIMIT 1", parameters)))

    def list_repeated_event_ids(self, digits: str) -> list[tuple[str, int]]:
        """List the ids that several events have, each id with the number of each such event."""
        repeated, parameters = _repeated_event_ids(digits)
        rows = self._execute(
            f"SELECT event_id, sequence FROM events WHERE event_id IN ({repeated})"  # noqa: S608 - constants of ours
            " ORDER BY event_id, sequence",
            parameters,
        )
        return [(event_id, sequence) for event_id, sequence in rows]

    def find_key_range_end(self, start: ClientKey, size: int) -> ClientKey | None:
        """Find the key that follows `size` different keys from `start` on. None is the end."""
        rows = self._execute(
            "SELECT DISTINCT client_id, idempotency_key FROM idempotency_keys"
            " WHERE (client_id, idempotency_key) >= (:client_id, :key)"
            " ORDER BY client_id, idempotency_key LIMIT 1 OFFSET :size",
            {"client_id": start[0], "key": start[1], "size": size},
        )
        return next(((client_id, key) for client_id, key in list(rows)), None)

    def list_repeated_keys(self, start: ClientKey, end: ClientKey | None) -> list[ClientKey]:
        """List the keys that several rows have, from `start` on and before `end`."""
        end_client_id, end_key = end or (None, None)
        before_end = "" if end is None else " AND (client_id, idempotency_key) < (:to_id, :to_key)"
        rows = self._execute(
            "SELECT client_id, idempotency_key FROM idempotency_keys"  # noqa: S608 - constants of ours
            f" WHERE (client_id, idempotency_key) >= (:client_id, :key){before_end}"
            " GROUP BY client_id, idempotency_key HAVING COUNT(*) > 1"
            " ORDER BY client_id, idempotency_key",
            {"client_id": start[0], "key": start[1], "to_id": end_client_id, "to_key": end_key},
        )
        return [(client_id, key) for client_id, key in rows]

    def list_orders_of_key(self, client_id: str, key: str) -> list[str]:
        """List the orders that rows of one key name."""
        rows = self._execute(
            "SELECT order_id FROM idempotency_keys"
            " WHERE client_id = :client_id AND idempotency_key = :key ORDER BY order_id",
            {"client_id": client_id, "key": key},
        )
        return [order_id for (order_id,) in rows]


def _repeated_event_ids(digits: str) -> tuple[str, dict[str, object]]:
    """Give the statement, and its parameters, that finds the ids of more than one event.

    It searches the ids that end with one of `digits`. An id that is not a UUID is another finding.
    """
    parameters: dict[str, object] = {f"digit_{n}": digit for n, digit in enumerate(digits)}
    ends = ", ".join(f":{name}" for name in parameters)
    return (
        "SELECT event_id FROM events"  # noqa: S608 - names of ours
        f" WHERE length(event_id) = 36 AND substr(event_id, 36, 1) IN ({ends})"
        " GROUP BY event_id HAVING COUNT(*) > 1"
    ), parameters
