"""`GET /orders`: keyset pages, filters and the look-up by idempotency key."""

import re
import threading
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient

from tests.support.http_messages import ask, check_problem, order
from tests.support.running import ORDER, Answer

LINK = re.compile(r'<(/orders\?[^>]+)>; rel="next"')


def make(client: FlaskClient, count: int, customer_id: str = "cust1") -> list[str]:
    """Make orders, and return their ids, the newest first."""
    ids = [
        order(client, f"{customer_id}-{n}", ORDER | {"customer_id": customer_id}).json["order_id"]
        for n in range(count)
    ]
    return ids[::-1]


def listed(client: FlaskClient, **query: Any) -> Answer:
    return ask(client, f"/orders?{urlencode(query)}")


def ids_of(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [shown["order_id"] for shown in answer.json["orders"]]


def walk(client: FlaskClient, target: str) -> list[list[str]]:
    """Follow the Link headers to the end, and assert that `next_cursor` agrees with them."""
    pages = []
    while True:
        page = ask(client, target)
        pages.append(ids_of(page))
        assert ("link" in page.headers) == (page.json["next_cursor"] is not None)
        if "link" not in page.headers:
            return pages
        link = LINK.fullmatch(page.headers["link"])
        assert link
        target = link[1]
        assert f"cursor={quote(page.json['next_cursor'])}" in target


def test_without_orders_the_list_is_empty(client: FlaskClient) -> None:
    answer = ask(client, "/orders")
    assert (answer.status, answer.json) == (200, {"orders": [], "next_cursor": None})
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers


def test_orders_are_listed_newest_first_as_get_shows_them(client: FlaskClient) -> None:
    ids = make(client, 3)
    answer = ask(client, "/orders")
    assert ids_of(answer) == ids == sorted(ids, reverse=True)
    assert answer.json["orders"] == [ask(client, f"/orders/{i}").json for i in ids]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 100])
def test_pages_cover_everything_once(client: FlaskClient, limit: int) -> None:
    ids = make(client, 6)
    pages = walk(client, f"/orders?limit={limit}")
    assert [i for page in pages for i in page] == ids
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]


def test_a_page_has_20_orders_by_default(client: FlaskClient) -> None:
    ids = make(client, 21)
    answer = ask(client, "/orders")
    assert ids_of(answer) == ids[:20]
    assert answer.json["next_cursor"]
    assert ids_of(listed(client, limit=100)) == ids


def test_orders_that_are_made_while_a_client_pages_shift_no_page(client: FlaskClient) -> None:
    ids = make(client, 6)
    first = listed(client, limit=2)
    newer = make(client, 3, "cust2")
    second = listed(client, limit=2, cursor=first.json["next_cursor"])
    third = listed(client, limit=2, cursor=second.json["next_cursor"])
    assert ids_of(first) + ids_of(second) + ids_of(third) == ids
    assert third.json["next_cursor"] is None
    assert ids_of(listed(client)) == newer + ids


def test_pages_are_stable_while_another_client_orders(client: FlaskClient) -> None:
    ids = make(client, 30)
    stop = threading.Event()

    def order_on() -> None:
        ordering = client.application.test_client()
        for n in range(10_000):
            if stop.is_set():
                break
            order(ordering, f"other-{n}", ORDER | {"customer_id": "cust2"})

    thread = threading.Thread(target=order_on)
    thread.start()
    try:
        for _ in range(5):
            seen = [i for page in walk(client, "/orders?limit=7") for i in page]
            assert seen == sorted(set(seen), reverse=True)
            assert seen[-30:] == ids
            assert walk(client, "/orders?limit=7&customer_id=cust1")[0] == ids[:7]
    finally:
        stop.set()
        thread.join()


def test_a_list_of_one_customer_has_its_own_pages(client: FlaskClient) -> None:
    wanted = make(client, 3, "wanted")
    make(client, 3, "other")
    wanted = [order(client, "w", ORDER | {"customer_id": "wanted"}).json["order_id"], *wanted]
    assert ids_of(listed(client, customer_id="wanted")) == wanted
    pages = walk(client, "/orders?customer_id=wanted&limit=3")
    assert pages == [wanted[:3], wanted[3:]]
    assert ids_of(listed(client, customer_id="want")) == []
    assert ids_of(listed(client, customer_id="WANTED")) == []


@pytest.mark.parametrize(
    "customer_id", ["caf\u00e9 & s\u00f6hne", "a+b=c&d#e", "%41", "\U0001f4e6"]
)
def test_orders_of_any_customer_can_be_listed_and_paged(
    client: FlaskClient, customer_id: str
) -> None:
    ids = make(client, 3, "plain")
    assert ids
    for n in range(2):
        order(client, f"k{n}", ORDER | {"customer_id": customer_id})
    pages = walk(client, f"/orders?{urlencode({'limit': 1, 'customer_id': customer_id})}")
    assert [len(page) for page in pages] == [1, 1]


def test_the_order_made_under_a_key_is_found_in_either_form(client: FlaskClient) -> None:
    make(client, 2)
    made = order(client, '"a key, \\"quoted\\" \\\\"').json["order_id"]
    bare = order(client, "plain").json["order_id"]
    assert ids_of(listed(client, idempotency_key='"a key, \\"quoted\\" \\\\"')) == [made]
    assert ids_of(listed(client, idempotency_key='a key, "quoted" \\')) == [made]
    assert ids_of(listed(client, idempotency_key="plain")) == [bare]
    assert ids_of(listed(client, idempotency_key='"plain"')) == [bare]
    assert ids_of(listed(client, idempotency_key="PLAIN")) == []


def test_a_key_without_an_order_finds_none(client: FlaskClient) -> None:
    make(client, 2)
    check_problem(order(client, "refused", ORDER | {"quantity": 0}), "validation-failed")
    answer = listed(client, idempotency_key="refused")
    assert answer.json == {"orders": [], "next_cursor": None}
    assert "link" not in answer.headers


def test_a_lost_answer_is_found_by_its_key(client: FlaskClient) -> None:
    order(client, "lost", X_Debug_Fail_After_Commit="true")
    (found,) = listed(client, idempotency_key="lost").json["orders"]
    assert order(client, "lost").json == found


def test_filters_combine_with_and(client: FlaskClient) -> None:
    made = order(client, "k", ORDER | {"customer_id": "a"}).json["order_id"]
    order(client, "other", ORDER | {"customer_id": "a"})
    assert ids_of(listed(client, idempotency_key="k", customer_id="a")) == [made]
    assert ids_of(listed(client, idempotency_key="k", customer_id="b")) == []


def test_one_order_under_a_key_has_no_next_page(client: FlaskClient) -> None:
    make(client, 3)
    answer = listed(client, idempotency_key="cust1-1", limit=1)
    assert len(ids_of(answer)) == 1
    assert answer.json["next_cursor"] is None
    assert "link" not in answer.headers


def test_a_cursor_belongs_to_its_filters(client: FlaskClient) -> None:
    make(client, 3)
    plain = listed(client, limit=1).json["next_cursor"]
    filtered = listed(client, limit=1, customer_id="cust1").json["next_cursor"]
    for query in (
        {"cursor": plain, "customer_id": "cust1"},
        {"cursor": filtered},
        {"cursor": filtered, "customer_id": "cust2"},
        {"cursor": plain, "idempotency_key": "cust1-1"},
    ):
        errors = check_problem(listed(client, **query), "validation-failed")["errors"]
        assert list(errors) == ["cursor"]
    assert listed(client, cursor=plain, limit=2).status == 200


def test_only_the_exact_text_of_a_cursor_is_accepted(client: FlaskClient) -> None:
    assert order(client, "key-1").status == order(client, "key-2").status == 201
    cursor = listed(client, limit=1).json["next_cursor"]
    for changed in (f"{cursor}=", f"{cursor}==", f"{cursor} ", cursor.upper()):
        assert list(listed(client, cursor=changed).json["errors"]) == ["cursor"]


def test_a_cursor_is_valid_with_another_limit(client: FlaskClient) -> None:
    ids = make(client, 6)
    first = listed(client, limit=2)
    assert ids_of(listed(client, limit=100, cursor=first.json["next_cursor"])) == ids[2:]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "=",
        "====",
        "%00",
        "%ff",
        "a" * 32,
        "a" * 4000,
        "{}",
        "-1",
        "%F0%9F%93%A6",
        "A" * 31,
    ],
)
def test_a_text_that_is_not_a_cursor_is_refused(client: FlaskClient, cursor: str) -> None:
    make(client, 2)
    answer = ask(client, f"/orders?cursor={cursor}")
    assert list(check_problem(answer, "validation-failed")["errors"]) == ["cursor"]


def test_a_cursor_that_was_changed_is_refused(client: FlaskClient) -> None:
    make(client, 3)
    cursor = listed(client, limit=1).json["next_cursor"]
    for position in range(len(cursor)):
        changed = cursor[:position] + ("A" if cursor[position] != "A" else "B")
        answer = listed(client, cursor=changed + cursor[position + 1 :])
        check_problem(answer, "validation-failed")


def test_head_answers_as_get_with_its_link(client: FlaskClient) -> None:
    make(client, 2)
    shown, head = ask(client, "/orders?limit=1"), ask(client, "/orders?limit=1", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["link"] == shown.headers["link"]
    assert head.headers["content-length"] == shown.headers["content-length"]
