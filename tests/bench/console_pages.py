"""Which pages of the console are measured, and the orders for which they are asked."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

# The filled database has one client for nearly all of its orders. These clients are rare.
RARE_CLIENTS = 1_000


@dataclass(frozen=True)
class Known:
    """A stored order by everything that finds it, and `rare_client`, which did not make it."""

    order_id: str
    customer_id: str
    created_at: str
    key: str
    event_id: str
    sequence: int
    trace_id: str
    rare_client: str


def _search(query: str) -> str:
    return f"/search?{urlencode({'q': query})}"


def _list(name: str, **filters: str) -> str:
    return f"/{name}?{urlencode(filters)}"


def _retry(known: Known, quantity: int, key: str | None = None) -> str:
    body = f'{{"customer_id":"{known.customer_id}","item_id":"item1","quantity":{quantity}}}'
    return f"/retry?{urlencode({'client': 'public', 'key': key or known.key, 'body': body})}"


PAGES: dict[str, Callable[[Known], str]] = {
    "Search, empty": lambda _: "/",
    "Search for a key": lambda known: _search(known.key),
    "Search for an order id": lambda known: _search(known.order_id),
    "Search for an event id": lambda known: _search(known.event_id),
    "Search for an event number": lambda known: _search(str(known.sequence)),
    "Search for a trace id": lambda known: _search(known.trace_id),
    "Search for a customer": lambda known: _search(known.customer_id),
    "Search for a client": lambda known: _search(known.rare_client),
    "Search for a UUID that nothing has": lambda known: _search(f"{known.order_id[:-12]}{0:012}"),
    "Story of an order": lambda known: f"/orders/{known.order_id}",
    "Now": lambda _: "/now",
    "Orders, newest": lambda _: "/orders",
    "Orders, older": lambda known: _list("orders", before=known.order_id),
    "Orders, until a time": lambda known: _list("orders", to=known.created_at),
    "Orders of a customer": lambda known: _list("orders", customer=known.customer_id),
    "Orders of a customer, until a time": lambda known: _list(
        "orders", customer=known.customer_id, to=known.created_at
    ),
    "Orders of a rare client": lambda known: _list("orders", client=known.rare_client),
    "Orders of a client that has none": lambda known: _list(
        "orders", client="nobody", before=known.order_id
    ),
    "Orders of a customer by a client that has none": lambda known: _list(
        "orders", customer=known.customer_id, client="nobody"
    ),
    "Orders as CSV": lambda known: _list("orders.csv", before=known.order_id),
    "Events, newest": lambda _: "/events",
    "Events of a customer": lambda known: _list("events", customer=known.customer_id),
    "Events of a customer by a client that has none": lambda known: _list(
        "events", customer=known.customer_id, client="nobody"
    ),
    "Events as CSV": lambda known: _list("events.csv", before=known.order_id),
    "Client": lambda known: f"/clients/{known.rare_client}",
    "Retry, replay": lambda known: _retry(known, 1),
    "Retry, conflict": lambda known: _retry(known, 2),
    "Retry, new order": lambda known: _retry(known, 1, f"{known.key}-new"),
    "Retry, refused": lambda known: _retry(known, 0),
}


def known_orders(database: Path, number: int) -> list[Known]:
    """Choose orders from all of a filled database, each of whose requests belonged to a trace."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
        (newest,) = db.execute("SELECT MAX(sequence) FROM events WHERE traceparent > ''").fetchone()
        # Every hundredth order of a filled database has a trace.
        hundreds = random.sample(range(1, newest // 100), number)
        return [_known_order(db, hundred * 100) for hundred in hundreds]


def _known_order(db: sqlite3.Connection, sequence: int) -> Known:
    row = db.execute(
        "SELECT order_id, customer_id, orders.created_at, idempotency_key, event_id, sequence,"
        " substr(traceparent, 4, 32), ?"
        " FROM events JOIN orders USING (order_id) JOIN idempotency_keys USING (order_id)"
        " WHERE sequence = ?",
        (f"client-{random.randrange(RARE_CLIENTS)}", sequence),
    ).fetchone()
    return Known(*row)
