"""The search box finds an id of any kind."""

import pytest

from orderapi.console import clients, finding
from orderapi.console.finding import QUERY_MAX_CHARS
from orderapi.ops import tokens
from orderapi.store.sqlite.store import SqliteStore
from orderapi.store.statements import events, lookup, numbers
from orderapi.store.statements import tokens as token_statements
from tests.support.console_pages import Console, order, words_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def event_of(store: SqliteStore, order_id: str) -> tuple[str, int]:
    (event,) = store.read(lambda tx: tx.lookup.list_events_of_order(order_id))
    return event.event_id, event.sequence


@pytest.mark.parametrize("form", ["key-7", '"key-7"', "  key-7 "])
def test_a_key_leads_to_its_order(console: Console, store: SqliteStore, form: str) -> None:
    made = [order(store, f"key-{number}").order_id for number in range(9)]
    answer = console.search(form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/orders/{made[7]}")


def test_a_key_with_spaces_and_quotes_is_found_as_it_is(
    console: Console, store: SqliteStore
) -> None:
    made = order(store, 'a "b" c').order_id
    for form in ('a "b" c', r'"a \"b\" c"'):
        assert console.search(form).headers["Location"] == f"/orders/{made}"


def test_each_id_of_an_order_and_of_its_event_leads_to_it(
    console: Console, store: SqliteStore
) -> None:
    made = [order(store, f"key-{number}").order_id for number in range(30)]
    event_id, sequence = event_of(store, made[11])
    for query in (made[11], made[11].upper(), event_id, str(sequence), f"#{sequence}"):
        assert console.search(query).headers["Location"] == f"/orders/{made[11]}", query


def test_an_event_is_found_by_its_id_among_many_of_one_moment(
    console: Console, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After the clock was set back, all ids have one millisecond until the clock has caught up.
    for module in (numbers, events):
        monkeypatch.setattr(module, "now_ms", lambda: 1_800_000_000_000)
    made = [order(store, f"key-{number}").order_id for number in range(300)]
    assert {order_id[:13] for order_id in made} == {"01a3185c-5000"}
    for order_id in made[::50]:
        event_id, _ = event_of(store, order_id)
        assert console.search(event_id).headers["Location"] == f"/orders/{order_id}"


@pytest.mark.parametrize("form", [TRACE, TRACE.upper(), TRACEPARENT, f" {TRACEPARENT} "])
def test_the_trace_of_a_request_leads_to_its_order(
    console: Console, store: SqliteStore, form: str
) -> None:
    near = f"{TRACE[:-1]}5", f"{TRACE[:-1]}7"
    for number, trace in enumerate(near):
        order(store, f"near-{number}", traceparent=f"00-{trace}-{'0' * 15}1-00")
    order(store, "without")
    made = order(store, "key-1", traceparent=TRACEPARENT).order_id
    assert console.search(form).headers["Location"] == f"/orders/{made}"
    missing = words_of(console.search("ab" * 16))
    assert "As a trace id No request of this trace has made an order." in missing


def test_a_trace_in_which_several_orders_were_made_gives_a_choice(
    console: Console, store: SqliteStore
) -> None:
    made = [
        order(store, f"key-{number}", traceparent=f"00-{TRACE}-{span}-0{number % 2}").order_id
        for number, span in enumerate(("0" * 15 + "1", "f" * 16, "a" * 16))
    ]
    alone = order(store, "alone", traceparent=f"00-{'ab' * 16}-{'a' * 16}-00").order_id
    page = console.search(TRACE)
    assert "3 things have this id" in words_of(page)
    for order_id in made:
        assert f'href="/orders/{order_id}"' in page.text
        assert f'href="/search?q={TRACE}"' in console.get(f"/orders/{order_id}").text
    assert "Same trace" not in console.words(f"/orders/{alone}")


def test_a_customer_leads_to_the_list_of_its_orders(console: Console, store: SqliteStore) -> None:
    for number in range(3):
        order(store, f"key-{number}", customer_id="Ann & Bob <b>", item_id=f"thing-{number}")
    location = console.search("Ann & Bob <b>").headers["Location"]
    words = console.words(location)
    assert "Orders of customer Ann & Bob <b>" in words
    assert words.index("thing-2") < words.index("thing-1") < words.index("thing-0")


def test_a_client_leads_to_its_tokens(console: Console, store: SqliteStore) -> None:
    made = tokens.create_token(store, "shop", label="checkout", scopes=("write",), expires="9s")
    location = console.search("shop").headers["Location"]
    answer = console.get(location)
    words = words_of(answer)
    assert "Client shop" in words
    assert "checkout" in words
    assert "valid expires in" in words
    assert made.token not in answer.text
    assert "has no tokens" in console.words(console.search("public").headers["Location"])


def test_a_key_that_several_clients_have_used_gives_a_choice_that_names_each(
    console: Console, store: SqliteStore
) -> None:
    for client_id in ("shop", "desk", "public"):
        order(store, "same-key", client_id=client_id)
    answer = console.search("same-key")
    assert answer.status_code == 200
    words = words_of(answer)
    assert "3 things have this id" in words
    for client_id in ("shop", "desk", "public"):
        assert f"idempotency key same-key client {client_id}" in words


def test_a_key_that_was_not_searched_for_under_every_client_is_not_called_free(
    console: Console, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (finding, lookup):
        monkeypatch.setattr(module, "CLIENTS_MAX", 3)
    for client_id in ("a", "b", "c", "d"):
        order(store, f"key-of-{client_id}", client_id=client_id)
    assert console.search("key-of-c").status_code == 303
    words = words_of(console.search("key-of-d"))
    assert "None of the first 3 clients, sorted by name, has made an order under this key." in words
    assert "A retry" not in words


def test_a_client_with_many_tokens_shows_the_newest_ones(
    console: Console, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (clients, token_statements):
        monkeypatch.setattr(module, "CLIENT_TOKENS_MAX", 2)
    for number in range(3):
        tokens.create_token(store, "shop", label=f"label-{number}", scopes=("read",), expires=None)
    words = console.words("/clients/shop")
    assert "label-2" in words
    assert "label-0" not in words
    assert "Only the newest 2 tokens are listed." in words


def test_a_text_that_is_an_id_of_several_kinds_gives_a_choice(
    console: Console, store: SqliteStore
) -> None:
    first = order(store, "1", customer_id="other").order_id
    second = order(store, "2", customer_id="1").order_id
    answer = console.search("1")
    words = words_of(answer)
    assert "event number event 1" in words
    assert "idempotency key 1" in words
    assert "customer 1 newest order" in words
    assert f'href="/orders/{first}"' in answer.text
    assert f'href="/orders/{second}"' not in answer.text


def test_each_kind_of_id_that_was_not_found_is_listed_with_its_meaning(
    console: Console, store: SqliteStore
) -> None:
    order(store, "key-1")
    words = words_of(console.search("0198c0de-0000-7000-8000-000000000000"))
    for kind in ("an order id", "an event id", "an idempotency key", "a customer", "a client"):
        assert f"As {kind}" in words
    assert "No order was ever made under this key" in words
    assert "A retry with this key will make one." in words
    number = words_of(console.search("4711"))
    assert "No event has this number. The last event has the number 1." in number
    assert "As an order id" not in number
    assert "As an idempotency key" not in words_of(console.search("späte"))


def test_a_part_of_an_id_finds_nothing(console: Console, store: SqliteStore) -> None:
    order(store, "key-1")
    assert "Nothing has this id." in words_of(console.search("key"))


@pytest.mark.parametrize("query", ["", "   "])
def test_an_empty_search_leads_to_the_first_page(console: Console, query: str) -> None:
    assert console.search(query).headers["Location"] == "/"


def test_a_text_that_is_longer_than_any_id_is_not_searched(console: Console) -> None:
    words = words_of(console.search("x" * (QUERY_MAX_CHARS + 1)))
    assert "longer than any id" in words


def test_a_number_of_more_than_64_bits_is_not_searched_as_an_event(console: Console) -> None:
    assert "Nothing has this id." in words_of(console.search("9" * 40))
    assert "Nothing has this id." in words_of(console.search("9" * 18))


def test_an_empty_database_says_what_the_page_will_contain(console: Console) -> None:
    assert "it is listed here" in console.words("/orders?customer=cust1")
    assert console.get("/orders/0198c0de-0000-7000-8000-000000000000").status_code == 404
    assert console.get("/events/1").status_code == 404
    assert console.get("/clients/nobody").status_code == 404
