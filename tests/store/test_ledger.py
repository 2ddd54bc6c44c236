"""The database itself refuses a change of the ledger by any program."""

import pytest

from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.placing import place

COLUMNS = "order_id, customer_id, item_id, quantity, entry_type, created_at"
ROW = "'{order}', 'mallory', 'item1', 99, 'order_created', '2030-01-01T00:00:00.000Z'"
TAMPERING = {
    "update": "UPDATE ledger SET quantity = 99 WHERE order_id = '{order}'",
    "update nothing new": "UPDATE ledger SET quantity = quantity",
    "delete": "DELETE FROM ledger WHERE order_id = '{order}'",
    "delete all": "DELETE FROM ledger",
    "delete the order": "DELETE FROM orders",
    "upsert by order": f"INSERT INTO ledger ({COLUMNS}) VALUES ({ROW})"
    " ON CONFLICT (order_id, entry_type) DO UPDATE SET quantity = 99",
    "a second entry": f"INSERT INTO ledger ({COLUMNS}) VALUES ({ROW})",
    "an entry of no order": f"INSERT INTO ledger ({COLUMNS}) VALUES"
    f" ({ROW.replace('{order}', 'nobody')})",
}


@pytest.mark.parametrize("attempt", TAMPERING)
def test_the_ledger_refuses_to_be_changed(store: Store, engine: Engine, attempt: str) -> None:
    order_id = place(store, "first").order_id
    place(store, "second")
    everything = "SELECT * FROM ledger ORDER BY order_id"
    before = engine.query(everything)
    with pytest.raises(engine.constraint_error):
        engine.execute(TAMPERING[attempt].replace("{order}", order_id))
    assert engine.query(everything) == before
    assert len(before) == 2
