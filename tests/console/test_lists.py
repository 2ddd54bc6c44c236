"""The lists of orders and of events: filters, pages, and CSV."""

import csv
import io
import re

import pytest

from orderapi.console import filters
from orderapi.store.sqlite.store import SqliteStore
from orderapi.store.statements import numbers
from tests.support.console_pages import Console, order

# 2027-01-15T08:00:00Z, in milliseconds.
EIGHT_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def keys_on(console: Console, path: str) -> list[str]:
    """Give the items of the rows on a page of the orders."""
    return re.findall(r'<bdi class="text">(item-\d+)</bdi>', console.get(path).text)


def next_path(console: Console, path: str) -> str | None:
    found = re.search(r'rel="next" href="([^"]+)"', console.get(path).text)
    return found[1].replace("&amp;", "&") if found else None


def all_pages(console: Console, path: str) -> list[str]:
    """Follow the links to the next page, and give the items of all pages."""
    items, following = keys_on(console, path), next_path(console, path)
    while following is not None:
        items += keys_on(console, following)
        following = next_path(console, following)
    return items


def test_the_pages_have_every_order_once_and_the_newest_first(
    console: Console, store: SqliteStore
) -> None:
    for number in range(filters.PAGE_ROWS * 2 + 3):
        order(store, f"key-{number}", item_id=f"item-{number}")
    expected = [f"item-{number}" for number in reversed(range(filters.PAGE_ROWS * 2 + 3))]
    assert len(keys_on(console, "/orders")) == filters.PAGE_ROWS
    assert all_pages(console, "/orders") == expected
    assert all_pages(console, "/orders?customer=cust1") == expected


def test_filters_combine(console: Console, store: SqliteStore) -> None:
    for number in range(12):
        order(
            store,
            f"key-{number}",
            client_id=("shop", "desk")[number % 2],
            customer_id=("Ann", "Bob", "Eve")[number % 3],
            item_id=f"item-{number}",
        )
    assert keys_on(console, "/orders?customer=Ann") == ["item-9", "item-6", "item-3", "item-0"]
    assert keys_on(console, "/orders?client=shop&customer=Ann") == ["item-6", "item-0"]
    assert len(keys_on(console, "/orders?client=desk")) == 6
    assert "No order matches" in console.words("/orders?client=nobody")
    events = console.get("/events?client=shop&customer=Ann").text
    assert re.findall(r'href="/events/(\d+)"', events) == ["7", "1"]


def test_a_time_narrows_a_list(
    console: Console, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        at_ms = EIGHT_MS + number * HOUR_MS
        monkeypatch.setattr(numbers, "now_ms", lambda at_ms=at_ms: at_ms)
        order(store, f"key-{number}", item_id=f"item-{number}")
    path = "/orders?from=2027-01-15T09:00&to=2027-01-15T11:00:00Z"
    assert keys_on(console, path) == ["item-2", "item-1"]
    assert keys_on(console, "/orders?from=2027-01-15T12:00:00%2B01:00") == ["item-3"]
    assert keys_on(console, "/orders?to=2027-01-15") == []
    words = console.words("/orders?from=yesterday")
    assert (
        "'yesterday' is not a time such as 2026-11-29T03:00, so this filter is not used." in words
    )
    assert len(keys_on(console, "/orders?from=yesterday")) == 4


@pytest.mark.parametrize(
    ("rare", "other", "query"),
    [("shop", "public", "client=shop&customer=cust1"), ("public", "shop", "client=public")],
)
def test_filters_without_an_index_are_searched_in_parts(
    console: Console,
    store: SqliteStore,
    monkeypatch: pytest.MonkeyPatch,
    rare: str,
    other: str,
    query: str,
) -> None:
    monkeypatch.setattr(filters, "WINDOW_ORDERS", 10)
    for number in range(25):
        client_id = rare if number in (2, 17) else other
        order(store, f"key-{number}", client_id=client_id, item_id=f"item-{number}")
    path = f"/orders?{query}"
    assert keys_on(console, path) == ["item-17"]
    assert "Only 10 orders were searched" in console.words(path)
    assert all_pages(console, path) == ["item-17", "item-2"]


def test_a_rare_client_is_found_at_once(
    console: Console, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "WINDOW_ORDERS", 10)
    for number in range(25):
        client_id = "shop" if number in (2, 17) else "public"
        order(store, f"key-{number}", client_id=client_id, item_id=f"item-{number}")
    assert keys_on(console, "/orders?client=shop") == ["item-17", "item-2"]
    assert re.findall(r'href="/events/(\d+)"', console.get("/events?client=shop").text) == [
        "18",
        "3",
    ]
    assert "were searched" not in console.words("/orders?client=shop")


def test_a_page_is_saved_as_csv_that_no_spreadsheet_runs(
    console: Console, store: SqliteStore
) -> None:
    for number in range(3):
        order(store, f"key-{number}", customer_id='=1+1,"\u202e', item_id=f"item-{number}")
    answer = console.get("/orders.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="orders.csv"'
    headings, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert headings[0] == "order_id"
    assert [row[3] for row in rows] == ["item-2", "item-1", "item-0"]
    assert rows[0][2] == "'=1+1,\"\u202e"
    _, *events = csv.reader(io.StringIO(console.get("/events.csv").text, newline=""))
    assert [event[0] for event in events] == ["3", "2", "1"]


def test_an_empty_list_says_what_it_will_contain(console: Console) -> None:
    assert "it is listed here" in console.words("/orders")
    assert "which is listed here" in console.words("/events")
