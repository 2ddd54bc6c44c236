"""The trace of a request (W3C Trace Context): in its log line, its event and its delivery."""

import json

import pytest
from flask.testing import FlaskClient

from orderapi.store.contract import Store
from tests.support import relay_receiver as receiving
from tests.support.http_messages import ask, order
from tests.support.running import ORDER, Server

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
OTHER = f"00-{TRACE_ID[::-1]}-b7ad6b7169203331-00"


def test_one_id_finds_the_log_line_the_event_and_the_delivery(server: Server) -> None:
    made = server.order("key-1", X_Request_ID="made", traceparent=TRACEPARENT)
    assert made.status == 201
    server.order("key-2")
    (line,) = server.lines_of("made")
    assert line["trace_id"] == TRACE_ID
    events = server.request("GET", "/events").json["events"]
    assert [event.get("traceparent") for event in events] == [TRACEPARENT, None]
    with receiving.receiving() as receiver:
        relay = receiving.RelayProcess(server.engine, receiver.url, ORDERAPI_LOG_LEVEL="debug")
        assert relay.run("--once") == 0
    assert receiver.refused == []
    traced, other = receiver.arrivals
    assert traced.headers["traceparent"] == TRACEPARENT
    assert traced.event == events[0]
    assert "traceparent" not in other.headers
    assert "traceparent" not in other.event
    sent = [line for line in relay.log_lines() if line.get("trace_id") == TRACE_ID]
    # A delivery that is repeated has the id in more lines than one.
    assert {line["event_id"] for line in sent} == {events[0]["id"]}


def test_the_trace_of_an_event_that_is_not_delivered_is_in_the_relays_warning(
    server: Server,
) -> None:
    server.order("key-1", traceparent=TRACEPARENT)
    with receiving.receiving(lambda _: receiving.status(500)) as receiver:
        relay = receiving.RelayProcess(server.engine, receiver.url)
        assert relay.run("--once") == 1
    warned = [line for line in relay.log_lines() if line["level"] == "WARNING"]
    assert {line["trace_id"] for line in warned} == {TRACE_ID}


def test_an_event_keeps_the_trace_of_the_request_that_made_it(
    client: FlaskClient, store: Store
) -> None:
    made = order(client, "key-1", traceparent=TRACEPARENT)
    assert order(client, "key-1", traceparent=OTHER).body == made.body
    assert order(client, "key-1", {**ORDER, "quantity": 2}, traceparent=OTHER).status == 409
    (event,) = store.read(lambda tx: tx.events.list_events(0, 10))
    assert event.traceparent == TRACEPARENT


@pytest.mark.parametrize(
    "malformed", ["", "00", TRACEPARENT.upper(), TRACEPARENT + "-more", "x" * 400]
)
def test_a_malformed_trace_is_ignored(client: FlaskClient, store: Store, malformed: str) -> None:
    assert order(client, "key-1", traceparent=malformed).status == 201
    (event,) = store.read(lambda tx: tx.events.list_events(0, 10))
    assert event.traceparent is None
    assert "traceparent" not in ask(client, "/events").json["events"][0]


def test_two_traces_in_one_request_are_ignored(server: Server) -> None:
    body = json.dumps(ORDER).encode()
    head = (
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: key-1\r\nX-Request-ID: twice\r\nContent-Length: {len(body)}\r\n"
        f"traceparent: {TRACEPARENT}\r\ntraceparent: {OTHER}\r\n\r\n"
    )
    assert server.raw(head.encode() + body).startswith(b"HTTP/1.1 201 ")
    (line,) = server.lines_of("twice")
    assert "trace_id" not in line
    assert server.rows("SELECT traceparent FROM events") == [(None,)]


def test_every_request_with_a_trace_logs_it(shared_server: Server) -> None:
    for path, request_id in (
        ("/orders", "traced-1"),
        ("/nowhere", "traced-2"),
        ("/healthz", "traced-3"),
    ):
        headers = {"X-Request-ID": request_id, "Traceparent": TRACEPARENT}
        shared_server.request("GET", path, headers=headers)
        (line,) = shared_server.lines_of(request_id)
        assert line["trace_id"] == TRACE_ID
