"""The pages show all input of clients as text, and never as HTML."""

import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from orderapi.console.words import ago, exact, text
from orderapi.store.sqlite.store import SqliteStore
from tests.support.console_pages import Console, order

HOSTILE_KEYS = {
    "html": "<script>alert(1)</script>",
    "attribute": '" autofocus onfocus=alert(1) x="',
    "single quotes": "' onmouseover='alert(1)",
    "entity": "&lt;b&gt;&amp;",
    "template": "{{ 7 * 7 }}{% raw %}",
    "255 characters": "W" * 255,
    "path": "../../etc/passwd?#%2e",
}
HOSTILE_CUSTOMERS = HOSTILE_KEYS | {
    "255 characters": "W" * 128,
    "right to left": "\u202eresu\u202c \u2066x",
    "emoji": "👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈" * 8,
    "combining": "Z" + "\u0335\u0321\u0489" * 42,
    "hidden": "Ann\u200b\u00ad\ufeff\u2028Bob",
    "arabic": "مرحبا",
}


class _Elements(HTMLParser):
    """Notes each element with its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(page: str) -> _Elements:
    elements = _Elements()
    elements.feed(page)
    return elements


def same_elements(page: str, harmless: str) -> bool:
    """Tell whether two pages have the same elements, except for the marks of hidden characters."""
    own, other = (
        [element for element in parsed(each).elements if element != ("span", ("class",))]
        for each in (page, harmless)
    )
    return own == other


@pytest.mark.parametrize("key", HOSTILE_KEYS.values(), ids=HOSTILE_KEYS)
def test_a_hostile_key_is_text_on_every_page(
    console: Console, store: SqliteStore, key: str
) -> None:
    made = order(store, key).order_id
    harmless = order(store, "harmless").order_id
    order(store, "last")
    page, expected = console.get(f"/orders/{made}").text, console.get(f"/orders/{harmless}").text
    # The first order has no older neighbour.
    assert same_elements(page, re.sub(r'<a rel="prev".*?</a>', "", expected))
    assert key in "".join(parsed(page).texts)
    retry = console.get(f"/retry?{urlencode({'key': key, 'body': '{}'})}").text
    expected = console.get(f"/retry?{urlencode({'key': 'harmless', 'body': '{}'})}").text
    assert "Validation failed" in expected
    if "Validation failed" in retry:
        assert same_elements(retry, expected)
    assert "alert(1)>" not in re.sub(r"&[a-z0-9#]+;", "", retry)
    assert console.search(f'"{key}"'.replace("\\", "\\\\")).status_code in (200, 303)


@pytest.mark.parametrize("customer", HOSTILE_CUSTOMERS.values(), ids=HOSTILE_CUSTOMERS)
def test_a_hostile_customer_is_text_on_every_page(
    console: Console, store: SqliteStore, customer: str
) -> None:
    made = order(store, "key-1", customer_id=customer, item_id=customer[:128]).order_id
    harmless = order(store, "key-2", customer_id="harmless", item_id="harmless").order_id
    order(store, "last")
    page, expected = console.get(f"/orders/{made}").text, console.get(f"/orders/{harmless}").text
    assert same_elements(page, re.sub(r'<a rel="prev".*?</a>', "", expected))
    listed = console.search(customer)
    assert listed.status_code == 303
    page = console.get(listed.headers["Location"]).text
    assert same_elements(page, console.get("/orders?customer=harmless").text)


def test_invisible_characters_are_shown_by_their_code_point() -> None:
    shown = str(text("a\u202eb\u200bc\nd"))
    assert re.findall(r"U\+[0-9A-F]{4}", shown) == ["U+202E", "U+200B", "U+000A"]
    assert "\u202e" not in shown
    assert "U+" not in str(text("👩\u200d👧🏳️ é مرحبا"))
    assert "U+000A" not in str(text("a\nb", with_lines=True))


def test_a_search_for_anything_is_answered(console: Console, store: SqliteStore) -> None:
    order(store, "key-1")
    for query in (
        *HOSTILE_CUSTOMERS.values(),
        "\x00",
        "%",
        "_",
        "\ud800".encode("utf-8", "replace").decode(),
    ):
        answer = console.search(query)
        assert answer.status_code in (200, 303)
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize("value", [None, 12, b"\xff", "", "yesterday", "2026-13-01T00:00:00.000Z"])
def test_a_text_that_is_not_a_time_is_shown_unchanged(value: object) -> None:
    assert str(value) in str(ago(value)).replace("&#39;", "'")
    assert exact(value) == str(value)
