"""`POST /orders`: one key has one effect, and every retry gets the same answer."""

import json
import re
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.http_messages import ask, check_problem, chunk, one_answer, order, raw_order
from tests.support.promises import promise
from tests.support.running import ORDER, Server

TABLES = ("orders", "ledger", "idempotency_keys", "events")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def everything(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Give the rows behind `client`, read through another connection."""
    return {t: engine.query(f"SELECT * FROM {t} ORDER BY 1") for t in TABLES}


def test_a_new_order_is_answered_as_get_shows_it(client: FlaskClient) -> None:
    created = order(client, "key-1")
    assert created.status == 201
    assert created.headers["content-type"] == "application/json"
    assert created.json == {"order_id": created.json["order_id"], **ORDER, "status": "created"}
    assert created.headers["location"] == f"/orders/{created.json['order_id']}"
    assert "idempotent-replayed" not in created.headers
    assert ask(client, created.headers["location"]).body == created.body


def test_order_ids_are_uuid7_in_lower_case_and_rise(client: FlaskClient) -> None:
    ids = [order(client, f"key-{n}").json["order_id"] for n in range(20)]
    assert [UUID(order_id).version for order_id in ids] == [7] * 20
    assert ids == sorted(ids)
    assert ids == [order_id.lower() for order_id in ids]


def test_one_order_is_one_row_in_each_of_the_four_tables(
    client: FlaskClient, engine: Engine
) -> None:
    created = order(client, "key-1")
    order_id = created.json["order_id"]
    (row,) = engine.query("SELECT * FROM orders")
    assert row[:6] == (order_id, "public", "cust1", "item1", 1, "created")
    (entry,) = engine.query(
        "SELECT order_id, customer_id, item_id, quantity, entry_type FROM ledger"
    )
    assert entry == (order_id, "cust1", "item1", 1, "order_created")
    (saved,) = engine.query(
        "SELECT client_id, idempotency_key, status_code, response_body, order_id"
        " FROM idempotency_keys"
    )
    assert saved == ("public", "key-1", 201, created.body.decode(), order_id)
    (event,) = engine.query("SELECT sequence, type, order_id, client_id, payload FROM events")
    assert event[:4] == (1, "order.created", order_id, "public")
    assert json.loads(event[4]) == created.json
    for table in TABLES:
        ((created_at,),) = engine.query(f"SELECT created_at FROM {table}")
        assert TIME.fullmatch(created_at)


@promise("a replay is the same answer")
def test_a_replay_is_the_same_answer_and_writes_nothing(
    client: FlaskClient, engine: Engine
) -> None:
    first = order(client, "key-1")
    before = everything(engine)
    for _ in range(3):
        again = order(client, "key-1")
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotent-replayed"] == "true"
    assert everything(engine) == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"quantity": 1, "item_id": "item1", "customer_id": "cust1"}',
        b'\r\n\t {\n "customer_id"\t:"cust1","item_id":"item1" , "quantity":1}\n\n',
        b'{"customer_id":"\\u0063ust1","item_id":"item1","quantity":1}',
        b'{"\\u0071uantity":1,"customer_id":"cust1","item_id":"item1"}',
        b'{"quantity":9,"customer_id":"cust1","item_id":"item1","quantity":1}',
    ],
    ids=["order", "white space", "escaped value", "escaped name", "last of two members"],
)
def test_the_same_payload_in_other_json_is_a_replay(client: FlaskClient, body: bytes) -> None:
    first = order(client, "key-1")
    again = order(client, "key-1", body)
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["idempotent-replayed"] == "true"


@promise("a conflict touches nothing")
@pytest.mark.parametrize(
    "change",
    [{"quantity": 2}, {"customer_id": "cust1 "}, {"customer_id": "Cust1"}, {"item_id": "cust1"}],
)
def test_same_key_with_another_payload_is_refused(
    client: FlaskClient, engine: Engine, change: dict[str, Any]
) -> None:
    first = order(client, "key-1")
    before = everything(engine)
    check_problem(order(client, "key-1", ORDER | change), "idempotency-key-reused")
    assert everything(engine) == before
    assert order(client, "key-1").body == first.body


def test_composed_and_decomposed_letters_are_different_payloads(client: FlaskClient) -> None:
    assert order(client, "key-1", ORDER | {"customer_id": "caf\u00e9"}).status == 201
    decomposed = ORDER | {"customer_id": "cafe\u0301"}
    check_problem(order(client, "key-1", decomposed), "idempotency-key-reused")


def test_another_key_makes_another_order(client: FlaskClient) -> None:
    ids = {order(client, key).json["order_id"] for key in ("a", "b", "A", "a-")}
    assert len(ids) == 4


def test_both_forms_of_a_key_name_the_same_key(client: FlaskClient) -> None:
    first = order(client, "key-1")
    assert order(client, '"key-1"').body == first.body
    assert order(client, '  "key-1"\t').body == first.body
    quoted = order(client, '"with space, comma, \\" and \\\\"')
    assert quoted.status == 201
    assert order(client, '"with space, comma, \\" and \\\\"').body == quoted.body


def test_a_backslash_in_a_bare_key_is_not_an_escape(client: FlaskClient) -> None:
    first = order(client, "a\\\\b")
    assert order(client, '"a\\\\\\\\b"').body == first.body
    assert order(client, '"a\\\\b"').body != first.body


def test_keys_have_up_to_255_characters(client: FlaskClient) -> None:
    assert order(client, "k" * 255).status == 201
    assert order(client, '"' + '\\"' * 255 + '"').status == 201
    check_problem(order(client, "k" * 256), "idempotency-key-invalid")
    check_problem(order(client, '"' + "k" * 256 + '"'), "idempotency-key-invalid")


@promise("a failure is not remembered")
def test_a_refusal_is_not_remembered(client: FlaskClient) -> None:
    check_problem(order(client, "key-1", b"{"), "malformed-json")
    check_problem(order(client, "key-1", ORDER | {"quantity": 0}), "validation-failed")
    check_problem(order(client, "key-1", Content_Type="text/plain"), "unsupported-media-type")
    check_problem(order(client, "key-1", b" " * 20_000), "body-too-large")
    created = order(client, "key-1")
    assert created.status == 201
    assert "idempotent-replayed" not in created.headers


@pytest.mark.parametrize("quantity", [1, 2, 999_999, 1_000_000])
def test_quantities_within_the_limits_are_accepted(client: FlaskClient, quantity: int) -> None:
    assert order(client, "key-1", ORDER | {"quantity": quantity}).json["quantity"] == quantity


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE orders; --",
        '" OR 1=1 --',
        "<script>alert(1)</script>&amp;",
        "%s %(x)s {0} ${x}",
        "../../etc/passwd",
        "  outer and inner  spaces  ",
        "\u202eright to left",
        "line\u2028separator",
        "\U0001f4e6" * 128,
        "x" * 128,
        "\\u0000",
        "null",
        "caf\u00e9 \u5bff\u53f8",
        "\u200b",
    ],
)
def test_strings_are_returned_unchanged(client: FlaskClient, engine: Engine, text: str) -> None:
    created = order(client, "key-1", ORDER | {"customer_id": text, "item_id": text})
    assert (created.status, created.json["customer_id"]) == (201, text)
    shown = ask(client, created.headers["location"])
    assert (shown.json["item_id"], shown.body) == (text, created.body)
    assert engine.query("SELECT customer_id, item_id FROM ledger") == [(text, text)]
    assert order(client, "key-1", ORDER | {"customer_id": text, "item_id": text}).status == 201


@promise("an error is not a verdict")
def test_a_debug_failure_commits_and_its_retry_succeeds(
    client: FlaskClient, engine: Engine
) -> None:
    failed = order(client, "key-1", X_Debug_Fail_After_Commit="true")
    check_problem(failed, "simulated-failure")
    before = everything(engine)
    assert [len(rows) for rows in before.values()] == [1, 1, 1, 1]
    retried = order(client, "key-1")
    assert retried.status == 201
    assert retried.json["order_id"] == before["orders"][0][0]
    assert everything(engine) == before


def test_the_debug_header_does_nothing_to_a_replay_or_a_refusal(client: FlaskClient) -> None:
    check_problem(
        order(client, "key-1", ORDER | {"quantity": 0}, X_Debug_Fail_After_Commit="true"),
        "validation-failed",
    )
    first = order(client, "key-1")
    assert order(client, "key-1", X_Debug_Fail_After_Commit="true").body == first.body
    check_problem(
        order(client, "key-1", ORDER | {"quantity": 2}, X_Debug_Fail_After_Commit="true"),
        "idempotency-key-reused",
    )


@pytest.mark.parametrize("value", ["True", "TRUE", "1", "yes", "", "false", "true,true", '"true"'])
def test_any_other_value_of_the_debug_header_is_as_if_absent(
    client: FlaskClient, value: str
) -> None:
    assert order(client, "key-1", X_Debug_Fail_After_Commit=value).status == 201


def test_without_fault_injection_the_debug_header_is_as_if_absent(store: Store) -> None:
    settings = read_settings({"ORDERAPI_FAULT_INJECTION": "off"})
    client = create_app(settings, store).test_client()
    assert order(client, "key-1", X_Debug_Fail_After_Commit="true").status == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "APPLICATION/JSON",
        "application/json; q=1",
        "application/json;",
    ],
)
def test_the_content_type_of_json_in_utf8_is_accepted_in_any_spelling(
    client: FlaskClient, content_type: str
) -> None:
    assert order(client, "key-1", Content_Type=content_type).status == 201


def test_the_largest_body_is_accepted(client: FlaskClient) -> None:
    body = json.dumps(ORDER).encode()
    assert order(client, "key-1", body + b" " * (16_384 - len(body))).status == 201
    too_large = body + b" " * (16_385 - len(body))
    check_problem(order(client, "key-2", too_large), "body-too-large")


def test_a_chunked_body_is_accepted(shared_server: Server) -> None:
    body = json.dumps(ORDER).encode()
    chunks = chunk(body[:10]) + chunk(body[10:]) + b"0\r\n\r\n"
    created = one_answer(
        shared_server.raw(raw_order("chunked-1", chunks, "Transfer-Encoding: chunked"))
    )
    assert created.status == 201
    assert shared_server.order("chunked-1").body == created.body
    padded = chunk(body) + chunk(b" " * (16_384 - len(body))) + b"0\r\n\r\n"
    largest = one_answer(
        shared_server.raw(raw_order("chunked-2", padded, "Transfer-Encoding: chunked"))
    )
    assert largest.status == 201
