"""The look-ups of operators: the rows of one order, and the rows that have an id, of any client.

Each statement finds its rows through an index, so it reads few rows in a database of any size.
"""

from collections.abc import Sequence

from orderapi.records import Event, IdempotencyRecord, LedgerEntry, Order, OrderRange
from orderapi.store.statements.audit import AUDITED_COLUMNS
from orderapi.store.statements.by_client import of_client
from orderapi.store.statements.columns import EVENTS, IDEMPOTENCY_KEYS, LEDGER, ORDERS, select_list
from orderapi.store.statements.execution import Execute, Row, one_row, values_of

_ORDER_COLUMNS = select_list("orders", ORDERS)
_LEDGER_COLUMNS = select_list("ledger", LEDGER)
_RECORD_COLUMNS = select_list("idempotency_keys", IDEMPOTENCY_KEYS)
_EVENT_COLUMNS = select_list("events", EVENTS)

# An event has an id that is greater than the id of its order, and few other orders have an id
# between the two: those of the same millisecond. So the order of an event is among the orders just
# before the id of the event. The table of events needs no index on this id.
EVENT_ID_WINDOW_ORDERS = 1_000

# A statement that concerns all clients reads at most this many of them, sorted by name.
CLIENTS_MAX = 2_000

# A program that orders in a loop may have made many orders in one trace.
TRACE_EVENTS_MAX = 100

_FIRST_SEQUENCE = (
    "SELECT sequence FROM events WHERE order_id ="
    " (SELECT order_id FROM orders WHERE order_id >= ? ORDER BY order_id LIMIT 1)"
    " ORDER BY sequence LIMIT 1"
)


class LookupReads:
    """The look-ups of operators, on one snapshot."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_order(self, order_id: str) -> Order | None:
        """Find an order of any client."""
        row = one_row(
            self._execute(f"SELECT {_ORDER_COLUMNS} FROM orders WHERE order_id = ?", (order_id,))  # noqa: S608 - a constant of ours
        )
        return Order(*row) if row else None

    def list_orders(self, page: OrderRange) -> list[Order]:
        """List a range of orders, newest first."""
        rows = self._execute(_list_statement(_ORDER_COLUMNS, page), values_of(page))
        return [Order(*row) for row in rows]

    def list_events_of_orders(self, page: OrderRange) -> list[Event]:
        """List the events of a range of orders, newest first.

        Events are numbered in the order of the order ids, so both have the same order.
        """
        listed = _list_statement("order_id", page)
        rows = self._execute(
            f"SELECT {_EVENT_COLUMNS} FROM ({listed}) AS listed"  # noqa: S608 - constants of ours
            " CROSS JOIN events WHERE events.order_id = listed.order_id"
            " ORDER BY listed.order_id DESC",
            values_of(page),
        )
        return [Event(*row) for row in rows]

    def list_first_sequences(self, starts: Sequence[str]) -> list[int | None]:
        """List the number of the first event at or after each order_id of `starts`.

        The number is None where there is no such event. Numbers have no gaps, so the difference of
        two of them is a count, however many events lie between the two.
        """
        found = []
        for start in starts:
            row = one_row(self._execute(_FIRST_SEQUENCE, (start,)))
            found.append(None if row is None else int(row[0]))
        return found

    def schema_number(self) -> int:
        """Give the number of the newest migration of the database."""
        ((number,),) = self._execute("SELECT MAX(number) FROM schema_migrations", ())
        return int(number)

    def list_ledger_of_order(self, order_id: str) -> list[LedgerEntry]:
        """List the ledger entries of an order."""
        rows = self._execute(
            f"SELECT {_LEDGER_COLUMNS} FROM ledger WHERE order_id = ? ORDER BY ledger_id",  # noqa: S608 - a constant of ours
            (order_id,),
        )
        return [LedgerEntry(*row) for row in rows]

    def list_idempotency_records_of_order(self, order_id: str) -> list[IdempotencyRecord]:
        """List the idempotency records of an order."""
        rows = self._execute(
            f"SELECT {_RECORD_COLUMNS} FROM idempotency_keys WHERE order_id = ?",  # noqa: S608 - a constant of ours
            (order_id,),
        )
        return [IdempotencyRecord(*row) for row in rows]

    def list_idempotency_records_of_key(self, key: str) -> list[IdempotencyRecord]:
        """List the idempotency records of a key, one for each client that has used it.

        The clients are those of `list_clients_with_orders`.
        """
        rows = self._execute(
            # CROSS JOIN makes SQLite begin with the clients, so that it can use the index.
            f"{_clients_of('idempotency_keys')}"  # noqa: S608 - constants of ours
            f" SELECT {_RECORD_COLUMNS}"
            " FROM clients CROSS JOIN idempotency_keys"
            " WHERE idempotency_keys.client_id = clients.client_id AND idempotency_key = ?"
            " ORDER BY idempotency_keys.client_id",
            (key,),
        )
        return [IdempotencyRecord(*row) for row in rows]

    def list_clients_with_orders(self) -> list[str]:
        """List the clients that have made an order, sorted by name: CLIENTS_MAX at most."""
        return self._clients("idempotency_keys")

    def list_clients_with_tokens(self) -> list[str]:
        """List the clients that have a token, sorted by name: CLIENTS_MAX at most."""
        return self._clients("tokens")

    def is_client(self, client_id: str) -> bool:
        """Tell whether a client has made an order, or has a token, whatever its state."""
        rows = self._execute(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM idempotency_keys WHERE client_id = :client_id)"
            " OR EXISTS (SELECT 1 FROM tokens WHERE client_id = :client_id)",
            {"client_id": client_id},
        )
        return one_row(rows) is not None

    def list_events_of_order(self, order_id: str) -> list[Event]:
        """List the events of an order."""
        return self._events(f"SELECT {_EVENT_COLUMNS} FROM events WHERE order_id = ?", order_id)  # noqa: S608 - a constant of ours

    def list_events_with_id(self, event_id: str) -> list[Event]:
        """List the events with an id; there is one at most, unless the database is damaged."""
        return self._events(
            f"SELECT {_EVENT_COLUMNS} FROM"  # noqa: S608 - constants of ours
            " (SELECT order_id FROM orders WHERE order_id <= ?"
            f"  ORDER BY order_id DESC LIMIT {EVENT_ID_WINDOW_ORDERS}) AS before_it"
            " CROSS JOIN events WHERE events.order_id = before_it.order_id AND event_id = ?",
            event_id,
            event_id,
        )

    def list_events_of_trace(self, trace_id: str) -> list[Event]:
        """List events whose requests belonged to a trace: TRACE_EVENTS_MAX of them at most.

        `trace_id` is 32 hexadecimal digits in lower case (W3C Trace Context, section 3.2.2.3).
        """
        return self._events(
            f"SELECT {_EVENT_COLUMNS} FROM events WHERE traceparent >= ? AND traceparent <= ?"  # noqa: S608 - a constant of ours
            f" ORDER BY traceparent LIMIT {TRACE_EVENTS_MAX}",
            f"00-{trace_id}-{'0' * 16}-00",
            f"00-{trace_id}-{'f' * 16}-ff",
        )

    def find_event(self, sequence: int) -> Event | None:
        """Find the event with a number."""
        events = self._events(
            f"SELECT {_EVENT_COLUMNS} FROM events WHERE sequence = ?",  # noqa: S608 - a constant of ours
            sequence,
        )
        return events[0] if events else None

    def list_audited_rows(self, table: str, order_id: str) -> list[Row]:
        """List the AUDITED_COLUMNS of a table for one order."""
        rows = self._execute(
            f"SELECT {', '.join(AUDITED_COLUMNS[table])} FROM {table} WHERE order_id = ?",  # noqa: S608 - of AUDITED_COLUMNS
            (order_id,),
        )
        return list(rows)

    def _clients(self, table: str) -> list[str]:
        rows = self._execute(
            f"{_clients_of(table)} SELECT client_id FROM clients WHERE client_id IS NOT NULL"  # noqa: S608 - constants of ours
            " ORDER BY client_id",
            (),
        )
        return [client_id for (client_id,) in rows]

    def _events(self, sql: str, *parameters: object) -> list[Event]:
        return [Event(*row) for row in self._execute(sql, parameters)]


def _clients_of(table: str) -> str:
    """Give the beginning of a statement: the clients in an index of a table, as `clients`.

    Each step finds the next client, so the statement reads one entry of the index for each client,
    and not one for each row. SQLite and PostgreSQL have no such "loose" scan of their own.
    """
    return (
        "WITH RECURSIVE clients (client_id, number) AS ("  # noqa: S608 - constants of ours
        f" SELECT MIN(client_id), 1 FROM {table}"
        " UNION ALL"
        f" SELECT (SELECT MIN(client_id) FROM {table}"
        f"  WHERE {table}.client_id > clients.client_id), number + 1"
        f" FROM clients WHERE clients.client_id IS NOT NULL AND number < {CLIENTS_MAX})"
    )


def _list_statement(columns: str, page: OrderRange) -> str:
    """Give the statement that lists these columns of a range of orders, newest first."""
    filters = []
    if page.client_id is not None:
        filters.append(of_client(page.client_id))
    if page.customer_id is not None:
        filters.append("customer_id = :customer_id")
    if page.start is not None:
        filters.append("order_id >= :start")
    if page.before is not None:
        filters.append("order_id < :before")
    where = f" WHERE {' AND '.join(filters)}" if filters else ""
    return f"SELECT {columns} FROM orders{where} ORDER BY order_id DESC LIMIT :limit"  # noqa: S608 - constants of ours
