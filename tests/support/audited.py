"""Databases for the tests of the audit."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from orderapi.idempotency import fingerprint
from orderapi.ops.audit import audit
from orderapi.orders import place_order
from orderapi.records import Claim, NewOrder
from orderapi.settings import SqliteUrl
from orderapi.store.open import open_maintenance
from orderapi.store.sqlite.store import SqliteStore

ORDERS = 300
PAGE_BYTES = 4096
GONE = "01900000-0000-7000-8000-000000000000"


def findings(database: Path) -> list[str]:
    with closing(open_maintenance(SqliteUrl(database))) as maintenance:
        return list(audit(maintenance, lambda _done, _total: None))


def place(store: SqliteStore, number: int) -> None:
    payload = {"customer_id": f"cust{number % 7}", "item_id": 'é"\\☃', "quantity": number % 9 + 1}
    claim = Claim("public", f"key-{number}", fingerprint("POST", "/orders", payload))
    new_order = NewOrder("public", **payload)  # type: ignore[arg-type]  # as the view does
    store.write(lambda tx: place_order(tx, claim, new_order))


def wal_can_be_reset(database: Path) -> bool:
    """Tell whether the WAL can be reset, which means that no process holds a snapshot."""
    # A checkpoint of another store makes only one attempt fail. A held snapshot makes all fail.
    with closing(sqlite3.connect(database, timeout=0.1)) as db:
        for _ in range(100):
            ((busy, _, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not busy:
                return True
            time.sleep(0.1)
    return False


def break_invariant(database: Path) -> None:
    """Delete the second event, which breaks the invariant of gapless numbers."""
    with closing(sqlite3.connect(database)) as db, db:
        assert db.execute("DELETE FROM events WHERE sequence = 2").rowcount == 1
