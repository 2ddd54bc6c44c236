"""The page "Now" shows the counts of the stored rows, and the states that the store keeps."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.console.now import HOURS, MINUTES, RATE_MAX_S, RelayRate, read_now
from orderapi.maintenance_records import AuditResult
from orderapi.store.sqlite.store import SqliteStore
from orderapi.store.statements import numbers
from tests.support.console_pages import Console, order

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NOW_MS = 1_800_000_000_000 + 30_000


def test_orders_are_counted_by_their_time(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages_ms = [3 * 24 * HOUR_MS, 30 * HOUR_MS, 5 * HOUR_MS, 5 * HOUR_MS, 59 * MINUTE_MS]
    ages_ms += [2 * MINUTE_MS, 2 * MINUTE_MS, 2 * MINUTE_MS, 10, 10]
    for number, age_ms in enumerate(ages_ms):
        monkeypatch.setattr(numbers, "now_ms", lambda age_ms=age_ms: NOW_MS - age_ms)
        order(store, f"key-{number}")
    now = read_now(store, RelayRate(), NOW_MS)
    minutes = [count.orders for count in now.minutes]
    assert (len(minutes), sum(minutes)) == (MINUTES, 6)
    assert (minutes[0], minutes[-3], minutes[-1]) == (1, 3, 2)
    hours = [count.orders for count in now.hours]
    assert (len(hours), sum(hours)) == (HOURS, 9)
    assert hours[-6] == 2
    assert now.orders_of_a_day == 8
    assert now.last_sequence == 10


def test_the_page_shows_the_relay_the_database_and_the_backup(
    console: Console, store: SqliteStore, database: Path
) -> None:
    words = console.words("/now")
    assert "There are no orders yet. The newest ones appear here." in words
    assert "Everything is delivered" in words
    assert "Last backup None" in words
    for number in range(3):
        order(store, f"key-{number}", item_id=f"item-{number}")
    store.write(lambda tx: tx.backups.note_backup(75_300, is_verified=True))
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("UPDATE relay_position SET sequence = 1")
        db.execute(
            "UPDATE relay_position SET failures = 2, blocked_reason = 'it answered 500',"
            " blocked_since = '2026-01-01T00:00:00.000Z'"
        )
    words = console.words("/now")
    assert "Orders 3 3 in the last 24 hours" in words
    assert "2 waiting Position 1" in words
    assert "after 2 failed attempts: it answered 500" in words
    assert "free disk" in words
    assert "per order, full in" in words
    assert "Made in 1 minute. The last verified one:" in words
    assert words.index("item-2") < words.index("item-0")
    assert "3 orders, 3 at most" in words
    assert "Release 0.2.0 The database has schema" in words


def test_the_page_shows_how_the_last_audit_ended(console: Console, store: SqliteStore) -> None:
    assert "Last audit None orderapi audit proves every order" in console.words("/now")
    store.write(lambda tx: tx.last_audit.note(AuditResult(75_300, 12_000, 0, "")))
    assert "12,000 orders in 1 minute: nothing breaks an invariant" in console.words("/now")
    store.write(lambda tx: tx.last_audit.note(AuditResult(1_340, 1, 2, "orders <b>: x\nledger: y")))
    words = console.words("/now")
    assert "1 order in 1.3 seconds: 2 findings orders <b>: x ledger: y" in words


def test_the_rate_of_the_relay_is_measured_between_two_views() -> None:
    rate = RelayRate()
    assert rate.note(100, 1000.0) is None
    assert rate.note(150, 1000.5) is None
    assert rate.note(200, 1010.0) == 10.0
    assert rate.note(200, 1010.0 + RATE_MAX_S + 1) is None
