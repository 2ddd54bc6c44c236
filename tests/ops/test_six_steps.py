"""The six steps of the acceptance of the service, and the SQL statements of each step."""

import json
from typing import Any

from tests.support.http_messages import one_answer
from tests.support.running import Answer, Server

JOINED = (
    "SELECT orders.order_id, orders.customer_id, ledger.ledger_id"
    " FROM orders JOIN ledger ON orders.order_id = ledger.order_id;"
)
EVERYTHING = ("orders", "ledger", "idempotency_keys", "events")
FIRST = '{"customer_id":"cust1","item_id":"item1","quantity":1}'
OTHER = '{"customer_id":"cust1","item_id":"item1","quantity":5}'
SECOND = '{"customer_id":"cust2","item_id":"item2","quantity":1}'


def test_the_six_verification_steps(server: Server) -> None:
    created = post(server, "test-123", FIRST)
    assert created.status == 201
    assert created.json["status"] == "created"
    order_id = created.json["order_id"]
    check_database(server, [(order_id, "cust1", 1)])

    retried = post(server, "test-123", FIRST)
    assert (retried.status, retried.body) == (created.status, created.body)
    check_database(server, [(order_id, "cust1", 1)])

    before = whole_database(server)
    assert post(server, "test-123", OTHER).status == 409
    assert whole_database(server) == before

    assert post(server, "test-fail-1", SECOND, "X-Debug-Fail-After-Commit: true").status == 500
    ((failed_id,),) = server.rows("SELECT order_id FROM orders WHERE customer_id = 'cust2'")
    two_orders = [(order_id, "cust1", 1), (failed_id, "cust2", 2)]
    check_database(server, two_orders)

    after_failure = post(server, "test-fail-1", SECOND)
    assert after_failure.status == 201
    assert after_failure.json["order_id"] == failed_id
    check_database(server, two_orders)

    shown = curl(server, "GET", f"/orders/{order_id}")
    assert shown.status == 200
    assert shown.json == {
        "order_id": order_id,
        "customer_id": "cust1",
        "item_id": "item1",
        "quantity": 1,
        "status": "created",
    }
    listed = curl(server, "GET", "/orders?idempotency_key=test-123")
    assert listed.json == {"orders": [shown.json], "next_cursor": None}
    check_database(server, two_orders)


def test_the_steps_make_no_new_order_when_they_are_repeated_on_one_database(server: Server) -> None:
    first = post(server, "test-123", FIRST)
    server.stop()
    server.start()
    before = whole_database(server)
    assert post(server, "test-123", FIRST).body == first.body
    assert post(server, "test-123", OTHER).status == 409
    assert post(server, "test-123", FIRST, "X-Debug-Fail-After-Commit: true").status == 201
    assert whole_database(server) == before


def curl(server: Server, method: str, path: str, *headers: str, body: str = "") -> Answer:
    """Send the same bytes that curl would send."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: curl/8.5.0",
        "Accept: */*",
        *headers,
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return one_answer(server.raw(("\r\n".join([*lines, "", ""]) + body).encode()))


def post(server: Server, key: str, body: str, *headers: str) -> Answer:
    sent = ("Content-Type: application/json", f"Idempotency-Key: {key}", *headers)
    return curl(server, "POST", "/orders", *sent, body=body)


def check_database(server: Server, joined: list[tuple[Any, ...]]) -> None:
    assert server.rows("SELECT COUNT(*) FROM orders;") == [(len(joined),)]
    assert server.rows("SELECT COUNT(*) FROM ledger;") == [(len(joined),)]
    assert sorted(server.rows(JOINED)) == sorted(joined)
    assert set(server.counts().values()) == {len(joined)}
    keys = server.rows("SELECT idempotency_key, response_body FROM idempotency_keys")
    saved_ids = {json.loads(body)["order_id"] for _, body in keys}
    assert saved_ids == {order_id for order_id, _, _ in joined}


def whole_database(server: Server) -> dict[str, list[tuple[Any, ...]]]:
    return {table: server.rows(f"SELECT * FROM {table} ORDER BY 1") for table in EVERYTHING}
