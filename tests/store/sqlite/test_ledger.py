"""The database itself refuses a change of the ledger."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place
from tests.support.rows import query

ROW = "'{order}', 'mallory', 'item1', 99, 'order_created', '2030-01-01T00:00:00.000Z'"
COLUMNS = "order_id, customer_id, item_id, quantity, entry_type, created_at"
TAMPERING = {
    "update": "UPDATE ledger SET quantity = 99 WHERE ledger_id = 1",
    "update nothing new": "UPDATE ledger SET quantity = quantity",
    "update or replace": "UPDATE OR REPLACE ledger SET ledger_id = 2 WHERE ledger_id = 1",
    "update or ignore": "UPDATE OR IGNORE ledger SET quantity = 99",
    "delete": "DELETE FROM ledger WHERE ledger_id = 1",
    "delete all": "DELETE FROM ledger",
    "delete the order": "DELETE FROM orders",
    "insert or replace by id": f"INSERT OR REPLACE INTO ledger (ledger_id, {COLUMNS})"
    f" VALUES (1, {ROW})",
    "replace by order": f"REPLACE INTO ledger ({COLUMNS}) VALUES ({ROW})",
    "replace by id, another type": f"REPLACE INTO ledger (ledger_id, {COLUMNS})"
    f" VALUES (1, {ROW.replace('order_created', 'other')})",
    "upsert by id": f"INSERT INTO ledger (ledger_id, {COLUMNS}) VALUES (1, {ROW})"
    " ON CONFLICT (ledger_id) DO UPDATE SET quantity = 99",
    "upsert by order": f"INSERT INTO ledger ({COLUMNS}) VALUES ({ROW})"
    " ON CONFLICT (order_id, entry_type) DO UPDATE SET quantity = 99",
    "a second entry": f"INSERT INTO ledger ({COLUMNS}) VALUES ({ROW})",
    "an entry of no order": f"INSERT INTO ledger ({COLUMNS}) VALUES"
    f" ({ROW.replace('{order}', 'nobody')})",
    "negative id": f"INSERT INTO ledger (ledger_id, {COLUMNS}) VALUES (-1,"
    f" {ROW.replace('order_created', 'other')})",
}


@pytest.fixture(params=[False, True], ids=["plain", "recursive_triggers"])
def outsider(
    store: SqliteStore, database: Path, request: pytest.FixtureRequest
) -> Iterator[sqlite3.Connection]:
    """A connection of another program with write access, on a database with two orders."""
    place(store, "first", 1)
    place(store, "second", 2)
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute(f"PRAGMA recursive_triggers = {int(request.param)}")
        db.execute("PRAGMA foreign_keys = ON")
        yield db


@pytest.mark.parametrize("attempt", TAMPERING)
def test_the_ledger_refuses_to_be_changed(
    database: Path, outsider: sqlite3.Connection, attempt: str
) -> None:
    everything = "SELECT * FROM ledger"
    before = query(database, everything)
    order_id = before[0][1]
    with pytest.raises(sqlite3.IntegrityError):
        outsider.execute(TAMPERING[attempt].replace("{order}", order_id))
    assert query(database, everything) == before
    assert len(before) == 2


def test_insert_or_ignore_leaves_the_entry_as_it_was(
    database: Path, outsider: sqlite3.Connection
) -> None:
    before = query(database, "SELECT * FROM ledger")
    order_id = before[0][1]
    with pytest.raises(sqlite3.IntegrityError):
        outsider.execute(
            f"INSERT OR IGNORE INTO ledger ({COLUMNS}) VALUES ({ROW})".replace("{order}", order_id)
        )
    assert query(database, "SELECT * FROM ledger") == before


def test_ledger_entries_of_other_types_may_be_added(
    database: Path, outsider: sqlite3.Connection
) -> None:
    ((order_id,),) = query(database, "SELECT order_id FROM ledger WHERE ledger_id = 1")
    outsider.execute(
        f"INSERT INTO ledger ({COLUMNS}) VALUES ({ROW})".replace("order_created", "other").replace(
            "{order}", order_id
        )
    )
    assert query(database, "SELECT COUNT(*) FROM ledger") == [(3,)]
