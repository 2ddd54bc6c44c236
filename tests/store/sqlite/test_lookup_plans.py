"""No statement of the console reads a whole table, and none reads more than some thousand rows."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.console import finding, now
from orderapi.console.story import read_story
from orderapi.records import OrderPage, OrderRange
from orderapi.store.sqlite.store import SqliteStore
from orderapi.store.statements.audit import AUDITED_COLUMNS
from orderapi.store.statements.execution import Parameters, Row
from orderapi.store.statements.lookup import EVENT_ID_WINDOW_ORDERS, LookupReads
from orderapi.store.statements.transaction import ReadTx
from tests.support.console_pages import order

ID = "0198c0de-0000-7000-8000-000000000000"
RANGES = [
    OrderRange(50, client_id=client_id, customer_id=customer_id, start=start, before=before)
    for client_id, customer_id in ((None, None), (None, "cust1"), ("shop", None))
    for start in (None, ID)
    for before in (None, ID)
]

SCANNED = ("SCAN clients", "SCAN before_it", "SCAN listed", "SCAN orders", "SCAN CONSTANT ROW")

LOOKUPS: dict[str, Callable[[LookupReads], object]] = {
    "find_order": lambda lookup: lookup.find_order(ID),
    "list_orders": lambda lookup: [lookup.list_orders(page) for page in RANGES],
    "list_events_of_orders": lambda lookup: [lookup.list_events_of_orders(page) for page in RANGES],
    "list_first_sequences": lambda lookup: lookup.list_first_sequences([ID]),
    "schema_number": lambda lookup: lookup.schema_number(),
    "list_ledger_of_order": lambda lookup: lookup.list_ledger_of_order(ID),
    "list_idempotency_records_of_order": lambda lookup: lookup.list_idempotency_records_of_order(
        ID
    ),
    "list_idempotency_records_of_key": lambda lookup: lookup.list_idempotency_records_of_key(
        "key-1"
    ),
    "list_clients_with_orders": lambda lookup: lookup.list_clients_with_orders(),
    "list_clients_with_tokens": lambda lookup: lookup.list_clients_with_tokens(),
    "is_client": lambda lookup: lookup.is_client("shop"),
    "list_events_of_order": lambda lookup: lookup.list_events_of_order(ID),
    "list_events_with_id": lambda lookup: lookup.list_events_with_id(ID),
    "list_events_of_trace": lambda lookup: lookup.list_events_of_trace("ab" * 16),
    "find_event": lambda lookup: lookup.find_event(7),
    "list_audited_rows": lambda lookup: [
        lookup.list_audited_rows(table, ID) for table in AUDITED_COLUMNS
    ],
}


# The statements of the pages, on all subjects.
PAGES: dict[str, Callable[[ReadTx], object]] = {
    "search": lambda tx: [finding.find(tx, query) for query in (ID, "ab" * 16, "7", "key-1")],
    "order": lambda tx: read_story(tx, tx.lookup.list_events_of_trace("ab" * 16)[0].order_id),
    "client": lambda tx: tx.tokens.list_tokens_of("shop"),
    "now": lambda tx: now.read_in(tx, None, now.RelayRate(), 1_800_000_000_000),
    "retry": lambda tx: tx.keys.find_claim("shop", "key-1"),
}
# Each of these tables has one row.
SINGLE_ROWS = ("relay_position", "last_backup", "last_audit")


@pytest.fixture
def db(store: SqliteStore, database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a database with orders of three clients."""
    for number in range(60):
        order(store, f"key-{number}", client_id=("public", "shop", "desk")[number % 3])
    order(store, "traced", traceparent=f"00-{'ab' * 16}-{'c' * 16}-01")
    with closing(sqlite3.connect(database)) as connection:
        yield connection


def test_every_lookup_is_in_the_table() -> None:
    assert {name for name in vars(LookupReads) if not name.startswith("_")} == set(LOOKUPS)


@pytest.mark.parametrize("look_up", LOOKUPS.values(), ids=LOOKUPS)
def test_a_lookup_searches_an_index_and_scans_no_table(
    db: sqlite3.Connection, look_up: Callable[[LookupReads], object]
) -> None:
    plans: list[str] = []

    def explained(sql: str, parameters: Parameters) -> list[Row]:
        plans.extend(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return db.execute(sql, parameters).fetchall()

    look_up(LookupReads(explained))
    assert plans
    for step in plans:
        # A scan is allowed over the few rows that the statement has found before, and over the
        # newest orders, of which LIMIT takes a few.
        assert not step.startswith("SCAN") or step in SCANNED, plans


@pytest.mark.parametrize("read", PAGES.values(), ids=PAGES)
def test_a_page_reads_nothing_but_by_an_index(
    db: sqlite3.Connection, read: Callable[[ReadTx], object]
) -> None:
    plans: list[str] = []

    def explained(sql: str, parameters: Parameters) -> list[Row]:
        plans.extend(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return db.execute(sql, parameters).fetchall()

    read(ReadTx(explained))
    assert plans
    for step in plans:
        is_single = step.removeprefix("SCAN ") in SINGLE_ROWS
        assert not step.startswith("SCAN") or step in SCANNED or is_single, step


@pytest.mark.parametrize("page", RANGES)
def test_a_list_takes_the_newest_orders_without_sorting_all_of_them(
    db: sqlite3.Connection, page: OrderRange
) -> None:
    plans: list[str] = []

    def explained(sql: str, parameters: Parameters) -> list[Row]:
        plans.extend(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return []

    LookupReads(explained).list_orders(page)
    assert len(plans) == 1
    if page.customer_id is not None:
        assert "orders_by_customer (customer_id=?" in plans[0]
    if page.client_id is not None:
        assert "orders_by_client (client_id=?" in plans[0]


def test_the_service_lists_what_a_client_has_made_by_an_index(db: sqlite3.Connection) -> None:
    plans: list[str] = []

    def explained(sql: str, parameters: Parameters) -> list[Row]:
        plans.extend(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return db.execute(sql, parameters).fetchall()

    tx = ReadTx(explained)
    for before in (None, ID):
        tx.orders.list_orders(OrderPage("shop", None, None, before, 21))
    tx.events.list_events(0, 100, "shop")
    for plan, index in zip(plans, ("orders", "orders", "events"), strict=True):
        assert f"{index}_by_client (client_id=?" in plan, plan


def test_the_clients_are_found_without_reading_every_key(
    db: sqlite3.Connection, store: SqliteStore
) -> None:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def list_clients() -> int:
        nonlocal steps
        steps = 0
        lookup = LookupReads(lambda sql, parameters: db.execute(sql, parameters).fetchall())
        assert lookup.list_clients_with_orders() == ["desk", "public", "shop"]
        return steps

    db.set_progress_handler(count, 1)
    list_clients()  # The first statement of a connection also reads the schema.
    with_few = list_clients()
    for number in range(60, 600):
        order(store, f"key-{number}")
    assert list_clients() == with_few


def test_an_event_is_searched_for_among_a_bounded_number_of_orders(db: sqlite3.Connection) -> None:
    seen: list[str] = []

    def noted(sql: str, parameters: Parameters) -> list[Row]:
        seen.append(sql)
        return db.execute(sql, parameters).fetchall()

    assert LookupReads(noted).list_events_with_id(ID) == []
    assert f"LIMIT {EVENT_ID_WINDOW_ORDERS}" in seen[0]
    assert EVENT_ID_WINDOW_ORDERS <= 5_000
