"""Checks that a database keeps the promises, in SQL that is independent of the product."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.engines import Engine, SqliteEngine, engine_of

# Each statement counts rows that break a promise.
VIOLATIONS = {
    "orders without exactly one ledger entry that agrees": """
        SELECT COUNT(*) FROM orders WHERE 1 != (SELECT COUNT(*) FROM ledger
        WHERE ledger.order_id = orders.order_id AND entry_type = 'order_created'
        AND ledger.customer_id = orders.customer_id AND ledger.item_id = orders.item_id
        AND ledger.quantity = orders.quantity)""",
    "orders without exactly one key": """
        SELECT COUNT(*) FROM orders WHERE 1 != (SELECT COUNT(*) FROM idempotency_keys
        WHERE idempotency_keys.order_id = orders.order_id AND status_code = 201)""",
    "orders without exactly one event": """
        SELECT COUNT(*) FROM orders WHERE 1 != (SELECT COUNT(*) FROM events
        WHERE events.order_id = orders.order_id AND type = 'order.created')""",
    "ledger entries of no order": """
        SELECT COUNT(*) FROM ledger WHERE order_id NOT IN (SELECT order_id FROM orders)""",
    "keys of no order": """
        SELECT COUNT(*) FROM idempotency_keys
        WHERE order_id NOT IN (SELECT order_id FROM orders)""",
    "events of no order": """
        SELECT COUNT(*) FROM events WHERE order_id NOT IN (SELECT order_id FROM orders)""",
    "keys used twice": """
        SELECT COUNT(*) - (SELECT COUNT(*) FROM (
            SELECT DISTINCT client_id, idempotency_key FROM idempotency_keys) AS distinct_keys)
        FROM idempotency_keys""",
    "gaps in the sequence": """
        SELECT COALESCE(MAX(sequence), 0) - COUNT(*) FROM events""",
}
# These checks exist only in SQLite.
VIOLATIONS_OF_SQLITE = {
    "damaged pages": "SELECT COUNT(*) FROM pragma_integrity_check WHERE integrity_check != 'ok'",
    "broken references": "SELECT COUNT(*) FROM pragma_foreign_key_check",
}
ANSWERS = """
    SELECT idempotency_key, response_body, order_id, customer_id, item_id, quantity
    FROM idempotency_keys JOIN orders USING (order_id)"""

# A query runs a statement on a connection that does not belong to the store.
Query = Callable[[str], list[tuple[Any, ...]]]


def assert_exactly_once(database: Path | Engine, acknowledged: Mapping[str, bytes]) -> int:
    """Assert that a database breaks no promise and has each acknowledged answer once, by key.

    The database is an engine, or a file of SQLite. Gives the number of orders.
    """
    engine = engine_of(database)
    if isinstance(engine, SqliteEngine):
        assert violations(engine.query, VIOLATIONS_OF_SQLITE) == {}
    return assert_exactly_once_in(engine.query, acknowledged)


def assert_exactly_once_in(query: Query, acknowledged: Mapping[str, bytes]) -> int:
    """Assert that a database has no violation and has each acknowledged answer once, by key.

    Gives the number of orders.
    """
    assert violations(query) == {}
    saved = {}
    for key, body, order_id, customer_id, item_id, quantity in query(ANSWERS):
        saved[key] = body.encode()
        of_order = {"order_id": order_id, "customer_id": customer_id, "item_id": item_id}
        assert json.loads(body).items() >= (of_order | {"quantity": quantity}).items()
    lost = {key for key, body in acknowledged.items() if saved.get(key) != body}
    assert not lost
    ids = [json.loads(body)["order_id"] for body in acknowledged.values()]
    assert len(set(ids)) == len(ids)
    return len(saved)


def violations(query: Query, counted: Mapping[str, str] = VIOLATIONS) -> dict[str, int]:
    """Count the violations by name. A name without a violation is left out."""
    found = {name: int(query(sql)[0][0]) for name, sql in counted.items()}
    return {name: number for name, number in found.items() if number}
