"""Orders and their ledger entries."""

from orderapi.maintenance_records import Effects
from orderapi.records import NewOrder, Order, OrderPage
from orderapi.store.statements.by_client import of_client
from orderapi.store.statements.columns import LEDGER, ORDERS, insert_statement, select_list
from orderapi.store.statements.execution import Execute, one_row, values_of
from orderapi.store.statements.numbers import Numbers

_COLUMNS = select_list("orders", ORDERS)
_INSERT_ORDER = insert_statement("orders", ORDERS)
# The engine numbers the entries of the ledger.
_INSERT_LEDGER_ENTRY = insert_statement(
    "ledger", [column for column in LEDGER if column != "ledger_id"]
)

# People also run this statement by hand, with a customer in the place of `:customer_id`.
COUNT_EFFECTS = """\
SELECT orders.order_id, COUNT(DISTINCT ledger_id), COUNT(DISTINCT idempotency_key),
       COUNT(DISTINCT sequence)
FROM orders
LEFT JOIN ledger ON ledger.order_id = orders.order_id
LEFT JOIN idempotency_keys ON idempotency_keys.order_id = orders.order_id
LEFT JOIN events ON events.order_id = orders.order_id
WHERE orders.customer_id = :customer_id
GROUP BY orders.order_id"""


class OrderReads:
    """The statements that read the orders."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_order(self, client_id: str, order_id: str) -> Order | None:
        """Find one order of one client."""
        row = one_row(
            self._execute(
                f"SELECT {_COLUMNS} FROM orders"  # noqa: S608 - a constant of ours
                " WHERE order_id = ? AND client_id = ?",
                (order_id, client_id),
            )
        )
        return Order(*row) if row else None

    def list_orders(self, page: OrderPage) -> list[Order]:
        """List a client's orders, newest first, by the filters of `page`."""
        source = "orders"
        filters = ["orders.client_id = :client_id"]
        if page.key is None and page.customer_id is None:
            filters = [of_client(page.client_id)]
        if page.key is not None:
            source = "idempotency_keys JOIN orders ON orders.order_id = idempotency_keys.order_id"
            filters.append("idempotency_keys.client_id = :client_id")
            filters.append("idempotency_key = :key")
        if page.customer_id is not None:
            filters.append("customer_id = :customer_id")
        if page.before is not None:
            filters.append("orders.order_id < :before")
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM {source} WHERE {' AND '.join(filters)}"  # noqa: S608 - constants of ours
            " ORDER BY orders.order_id DESC LIMIT :limit",
            values_of(page),
        )
        return [Order(*row) for row in rows]

    def count_effects(self, customer_id: str) -> list[Effects]:
        """Count the rows that each order of a customer, of any client, has left in each table."""
        return [Effects(*row) for row in self._execute(COUNT_EFFECTS, {"customer_id": customer_id})]


class OrderWrites(OrderReads):
    """The statements that read and write the orders. New values get the time `now`."""

    def __init__(self, execute: Execute, now: str, numbers: Numbers) -> None:
        super().__init__(execute)
        self._now = now
        self._numbers = numbers

    def insert_order(self, new: NewOrder, status: str) -> Order:
        """Store an order under a new id, which is greater than every id before it."""
        order = Order(
            self._numbers.next_order_id(),
            new.client_id,
            new.customer_id,
            new.item_id,
            new.quantity,
            status,
            self._now,
        )
        self._execute(
            _INSERT_ORDER,
            (
                order.order_id,
                order.client_id,
                order.customer_id,
                order.item_id,
                order.quantity,
                order.status,
                order.created_at,
            ),
        )
        self._numbers.note_order(order.order_id)
        return order

    def insert_ledger_entry(self, order: Order, entry_type: str) -> None:
        """Add an entry about an order to the ledger."""
        self._execute(
            _INSERT_LEDGER_ENTRY,
            (
                order.order_id,
                order.customer_id,
                order.item_id,
                order.quantity,
                entry_type,
                order.created_at,
            ),
        )
