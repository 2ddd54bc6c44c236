"""What must hold after every bad day, in SQL of its own."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

# Each counts what must not be there.
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
        SELECT COUNT(*) - COUNT(DISTINCT client_id || char(0) || idempotency_key)
        FROM idempotency_keys""",
    "gaps in the sequence": """
        SELECT COALESCE(MAX(sequence), 0) - COUNT(*) FROM events""",
    "answers that are not their order": """
        SELECT COUNT(*) FROM orders JOIN idempotency_keys USING (order_id)
        WHERE response_body ->> 'order_id' != order_id
        OR response_body ->> 'customer_id' != customer_id
        OR response_body ->> 'item_id' != item_id OR response_body ->> 'quantity' != quantity""",
    "damaged pages": "SELECT COUNT(*) FROM pragma_integrity_check WHERE integrity_check != 'ok'",
    "broken references": "SELECT COUNT(*) FROM pragma_foreign_key_check",
}


def assert_exactly_once(database: Path, acknowledged: Mapping[str, bytes]) -> int:
    """Hold that the database is whole and has every acknowledged answer, by key, once.

    Gives the number of orders.
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as db:
        found = {name: db.execute(sql).fetchone()[0] for name, sql in VIOLATIONS.items()}
        assert found == dict.fromkeys(VIOLATIONS, 0)
        saved = dict(db.execute("SELECT idempotency_key, response_body FROM idempotency_keys"))
    lost = {key for key, body in acknowledged.items() if saved.get(key, "").encode() != body}
    assert not lost
    ids = [json.loads(body)["order_id"] for body in acknowledged.values()]
    assert len(set(ids)) == len(ids)
    return len(saved)
