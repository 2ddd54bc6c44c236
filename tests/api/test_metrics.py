"""`/metrics`: the number of events, and the state of the relay."""

import time
from pathlib import Path

from flask.testing import FlaskClient

from orderapi.store.contract import Store
from tests.support.http_messages import ask, check_problem, order
from tests.support.metrics import families, samples
from tests.support.running import Answer, Server, serving

BLOCKED = "orderapi_relay_blocked_since_timestamp_seconds"


def blockage(answer: Answer) -> list[tuple[str, float]]:
    """Return the reason for which the relay is blocked, and since when it is."""
    (blocked,) = (family for family in families(answer) if family.name == BLOCKED)
    return [(sample.labels["reason"], sample.value) for sample in blocked.samples]


def test_nothing_waits_in_a_new_store(client: FlaskClient) -> None:
    answer = ask(client, "/metrics")
    assert {
        name: value
        for name, value in samples(answer).items()
        if name.startswith(("orderapi_events", "orderapi_relay"))
    } == {
        "orderapi_events_total": 0,
        "orderapi_relay_position": 0,
        "orderapi_relay_waiting_events": 0,
        "orderapi_relay_lag_seconds": 0,
        "orderapi_relay_consecutive_failures": 0,
    }
    assert blockage(answer) == []


def test_events_wait_until_the_relay_has_delivered_them(client: FlaskClient, store: Store) -> None:
    for number in range(3):
        order(client, f"key-{number}")
        time.sleep(0.05)
    found = samples(ask(client, "/metrics"))
    assert found["orderapi_events_total"] == found["orderapi_relay_waiting_events"] == 3
    # The lag counts from the first event.
    assert 0.14 < found["orderapi_relay_lag_seconds"] < 30
    store.write(lambda tx: tx.relay.move_to(2))
    found = samples(ask(client, "/metrics"))
    assert (found["orderapi_relay_position"], found["orderapi_relay_waiting_events"]) == (2, 1)
    store.write(lambda tx: tx.relay.move_to(3))
    found = samples(ask(client, "/metrics"))
    assert found["orderapi_relay_waiting_events"] == found["orderapi_relay_lag_seconds"] == 0
    assert found["orderapi_events_total"] == 3


def test_a_blocked_relay_shows_since_when_and_why(client: FlaskClient, store: Store) -> None:
    order(client, "key-1")
    before = time.time()
    store.write(lambda tx: tx.relay.note_failure(0, "HTTP 500"))
    after = time.time()
    time.sleep(0.1)
    store.write(lambda tx: tx.relay.note_failure(0, 'said "no"\n\\'))
    answer = ask(client, "/metrics")
    assert samples(answer)["orderapi_relay_consecutive_failures"] == 2
    ((reason, since),) = blockage(answer)
    assert reason == 'said "no"\n\\'
    assert before - 0.001 <= since <= after
    store.write(lambda tx: tx.relay.move_to(1))
    answer = ask(client, "/metrics")
    assert samples(answer)["orderapi_relay_consecutive_failures"] == 0
    assert blockage(answer) == []


def test_metrics_are_a_503_while_the_store_cannot_be_read(server: Server) -> None:
    with server.engine.away():
        check_problem(server.request("GET", "/metrics"), "store-unavailable")


def test_every_worker_gives_the_sum_of_all(tmp_path: Path) -> None:
    with serving(tmp_path, WORKERS="4") as server:
        for number in range(20):
            assert server.order(f"key-{number}").status == 201
        totals = [samples(server.request("GET", "/metrics")) for _ in range(20)]
    assert {found["orderapi_events_total"] for found in totals} == {20}
