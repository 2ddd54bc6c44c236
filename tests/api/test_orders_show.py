"""`GET /orders/{order_id}`."""

import pytest
from flask.testing import FlaskClient

from tests.support.http_messages import ask, check_problem, one_answer, order, raw_request
from tests.support.running import ORDER, Server

UNKNOWN = "01890000-0000-7000-8000-000000000000"


def test_an_order_shows_its_five_fields(client: FlaskClient) -> None:
    order_id = order(client, "key-1").json["order_id"]
    shown = ask(client, f"/orders/{order_id}")
    assert (shown.status, shown.headers["content-type"]) == (200, "application/json")
    assert shown.json == {"order_id": order_id, **ORDER, "status": "created"}


def test_the_query_and_a_body_are_ignored(client: FlaskClient) -> None:
    order_id = order(client, "key-1").json["order_id"]
    plain = ask(client, f"/orders/{order_id}")
    assert ask(client, f"/orders/{order_id}?limit=x&limit=y&%ff").body == plain.body
    with_body = client.get(f"/orders/{order_id}", data=b"{", content_type="text/plain")
    assert with_body.data == plain.body


def test_head_answers_as_get_without_a_body(client: FlaskClient) -> None:
    order_id = order(client, "key-1").json["order_id"]
    shown, head = ask(client, f"/orders/{order_id}"), ask(client, f"/orders/{order_id}", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(shown.body))


@pytest.mark.parametrize(
    "order_id",
    [
        UNKNOWN,
        "1",
        "%20",
        "%00",
        "%0d%0aSet-Cookie:%20a=b",
        "%ff%fe",
        "%ed%a0%80",
        "%27%20OR%201=1--",
        "..%2f..%2fetc%2fpasswd",
        "%F0%9F%93%A6",
        "x" * 4000,
        "*",
        "%25",
        UNKNOWN + "%20",
        "{" + UNKNOWN + "}",
    ],
)
def test_an_id_without_an_order_is_not_found(shared_server: Server, order_id: str) -> None:
    received = shared_server.raw(raw_request("GET", f"/orders/{order_id}"))
    check_problem(one_answer(received), "not-found")


def test_an_id_is_found_only_in_its_exact_spelling(client: FlaskClient) -> None:
    order_id = order(client, "key-1").json["order_id"]
    for other in (order_id.upper(), order_id.replace("-", ""), f"{order_id}/", f"{order_id}%20"):
        check_problem(ask(client, f"/orders/{other}"), "not-found")
