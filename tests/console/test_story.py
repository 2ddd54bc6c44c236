"""The story of an order shows each of its rows, and whether its event was delivered."""

import sqlite3
from contextlib import closing
from pathlib import Path

from orderapi.store.sqlite.store import SqliteStore
from tests.support.broken_rows import NO_LEDGER_TRIGGERS
from tests.support.console_pages import Console, order

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def changed(database: Path, script: str) -> None:
    """Change rows by hand, which no program of the product does."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.executescript(script)


def story(console: Console, order_id: str) -> str:
    return console.words(f"/orders/{order_id}")


def test_a_story_has_every_row_of_the_order(console: Console, store: SqliteStore) -> None:
    order(store, "before")
    made = order(
        store,
        "key-1",
        client_id="shop",
        customer_id="Ann",
        item_id="lamp",
        quantity=12_000,
        traceparent=TRACEPARENT,
    )
    order(store, "after")
    (record,) = store.read(lambda tx: tx.lookup.list_idempotency_records_of_order(made.order_id))
    (event,) = store.read(lambda tx: tx.lookup.list_events_of_order(made.order_id))
    words = story(console, made.order_id)
    assert "for customer Ann by client shop" in words
    assert "Quantity 12,000" in words
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in words
    assert record.fingerprint in words
    assert made.body.strip() in words
    assert f"Location: /orders/ {made.order_id}" in words
    assert "Entry 2, order_created : 12,000 of lamp for Ann" in words
    assert "Event 2 of the feed, order.created" in words
    assert event.event_id in words
    assert "Proven: made exactly once" in words


def test_an_order_has_links_to_its_neighbours_and_to_its_customer(
    console: Console, store: SqliteStore
) -> None:
    made = [order(store, f"key-{number}").order_id for number in range(3)]
    page = console.get(f"/orders/{made[1]}").text
    assert f'rel="prev" href="/orders/{made[0]}"' in page
    assert f'rel="next" href="/orders/{made[2]}"' in page
    assert 'href="/orders?customer=cust1"' in page
    assert 'rel="prev"' not in console.get(f"/orders/{made[0]}").text
    assert 'rel="next"' not in console.get(f"/orders/{made[2]}").text
    assert console.get("/events/2").headers["Location"] == f"/orders/{made[1]}"


def test_the_delivery_follows_the_position_of_the_relay(
    console: Console, store: SqliteStore, database: Path
) -> None:
    made = [order(store, f"key-{number}").order_id for number in range(4)]
    assert "It is the next event that a relay delivers." in story(console, made[0])
    assert "No relay has delivered anything yet." in story(console, made[0])
    changed(database, "UPDATE relay_position SET sequence = 1")
    assert "so this event was delivered, or an operator skipped it." in story(console, made[0])
    assert "It is the next event" in story(console, made[1])
    assert "Waiting behind 1 other event." in story(console, made[2])
    assert "Waiting behind 2 other events." in story(console, made[3])
    changed(
        database,
        "UPDATE relay_position SET failures = 3, blocked_reason = 'the receiver answered 500',"
        " blocked_since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 hours')",
    )
    blocked = "since 2 hours ago , after 3 failed attempts: the receiver answered 500"
    assert f"Blocked {blocked}" in story(console, made[1])
    assert f"The relay is blocked {blocked}" in story(console, made[3])
    assert "blocked" not in story(console, made[0])


def test_a_broken_order_shows_each_check_that_failed(
    console: Console, store: SqliteStore, database: Path
) -> None:
    made = order(store, "key-1").order_id
    changed(database, NO_LEDGER_TRIGGERS + "DELETE FROM ledger; UPDATE orders SET quantity = 9")
    words = story(console, made)
    assert "checks failed" in words
    assert "failed the order has exactly one ledger entry" in words
    assert "has 0 rows in ledger, not 1" in words
    assert "This order has no ledger entry." in words
    assert "passed the order has exactly one event" in words
    changed(database, "DELETE FROM idempotency_keys; DELETE FROM events")
    words = story(console, made)
    assert "This order has no idempotency record. A retry would order again." in words
    assert "This order has no event" in words


def test_rows_that_damage_has_changed_are_shown_as_they_are(
    console: Console, store: SqliteStore, database: Path
) -> None:
    made = order(store, "key-1").order_id
    changed(database, "UPDATE orders SET created_at = 'yesterday', status = '<b>?'")
    words = story(console, made)
    assert "Made yesterday for customer cust1" in words
    assert "Status <b>?" in words
