"""The query of `GET /orders`: a bad, unknown or repeated parameter is named."""

import pytest
from flask.testing import FlaskClient

from tests.support.http_messages import ask, check_problem, order


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.0", "limit"),
        ("limit=1e1", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=+5", "limit"),
        ("limit=5%0a", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A5", "limit"),
        ("limit=" + "9" * 4000, "limit"),
        ("limit=5&limit=5", "limit"),
        ("limit=5&limi%74=6", "limit"),
        ("customer_id=", "customer_id"),
        ("customer_id=%20%20", "customer_id"),
        ("customer_id=%00", "customer_id"),
        ("customer_id=a%0Ab", "customer_id"),
        ("customer_id=%ff", "customer_id"),
        ("customer_id=%ed%a0%80", "customer_id"),
        ("customer_id=%C3", "customer_id"),
        ("customer_id=" + "x" * 129, "customer_id"),
        ("customer_id=a&customer_id=b", "customer_id"),
        ("idempotency_key=", "idempotency_key"),
        ("idempotency_key=%22%22", "idempotency_key"),
        ("idempotency_key=%22a", "idempotency_key"),
        ("idempotency_key=%22a%22b", "idempotency_key"),
        ("idempotency_key=%C3%A9", "idempotency_key"),
        ("idempotency_key=%ff", "idempotency_key"),
        ("idempotency_key=" + "k" * 256, "idempotency_key"),
        ("idempotency_key=a&idempotency_key=a", "idempotency_key"),
        ("order_id=1", "order_id"),
        ("Limit=5", "Limit"),
        ("limit%00=5", "limit\0"),
        ("=5", ""),
        ("x", "x"),
        ("caf%C3%A9=1", "caf\u00e9"),
        ("%3Cscript%3E=1", "<script>"),
    ],
)
def test_a_bad_unknown_or_repeated_parameter_is_named(
    client: FlaskClient, query: str, name: str
) -> None:
    document = check_problem(ask(client, f"/orders?{query}"), "validation-failed")
    assert list(document["errors"]) == [name]
    assert all(isinstance(message, str) and message for message in document["errors"][name])


def test_a_parameter_whose_name_is_not_utf8_is_refused_in_a_readable_document(
    client: FlaskClient,
) -> None:
    document = check_problem(ask(client, "/orders?%ff=1"), "validation-failed")
    (name,) = document["errors"]
    assert name.encode()


def test_every_bad_parameter_is_named(client: FlaskClient) -> None:
    answer = ask(client, "/orders?limit=0&customer_id=&foo=1")
    assert set(check_problem(answer, "validation-failed")["errors"]) == {
        "limit",
        "customer_id",
        "foo",
    }


@pytest.mark.parametrize("query", ["", "&", "&&", "limit=1&"])
def test_an_empty_query_asks_for_nothing_special(client: FlaskClient, query: str) -> None:
    order(client, "key-1")
    assert len(ask(client, f"/orders?{query}").json["orders"]) == 1
