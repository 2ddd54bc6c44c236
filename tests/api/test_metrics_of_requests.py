"""`/metrics`: how requests are counted, and that no caller can add a label."""

import threading
import time
from pathlib import Path

from flask.testing import FlaskClient

from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.http_messages import ask, order
from tests.support.metrics import REQUESTS, families, labelled, requests, samples
from tests.support.waiting import wait_until


def test_requests_are_counted_by_route_method_and_class_of_status(client: FlaskClient) -> None:
    created = order(client, "key-1")
    ask(client, created.headers["location"])
    ask(client, "/orders/none")
    ask(client, "/orders/none")
    client.head("/orders")
    client.options("/orders")
    assert requests(ask(client, "/metrics")) == {
        ("POST", "/orders", "2xx"): 1,
        ("GET", "/orders/{order_id}", "2xx"): 1,
        ("GET", "/orders/{order_id}", "4xx"): 2,
        ("HEAD", "/orders", "2xx"): 1,
        ("OPTIONS", "/orders", "2xx"): 1,
    }


def test_no_caller_can_add_a_label(client: FlaskClient) -> None:
    for number in range(5):
        client.get(f"/unknown-{number}")
        client.open("/orders", method=f"METHOD{number}")
        client.open(f"/orders/{number}", method="PUT")
        client.get(f"//{number}")
        order(client, f"bad key {number}", route=f"route-{number}")
    assert requests(ask(client, "/metrics")) == {
        ("GET", "none", "4xx"): 10,
        ("other", "none", "4xx"): 5,
        ("PUT", "none", "4xx"): 5,
        ("POST", "/orders", "4xx"): 5,
    }


def test_a_duration_is_in_every_bucket_that_is_at_least_as_long(client: FlaskClient) -> None:
    assert ask(client, "/events?wait=1").status == 200
    answer = ask(client, "/metrics")
    buckets = {
        float(le): count
        for (le, _, route, _), count in labelled(answer, f"{REQUESTS}_bucket").items()
        if route == "/events"
    }
    assert min(buckets) == 0.001
    assert buckets[0.5] == 0
    assert buckets[float("inf")] == 1
    (total,) = (
        value
        for (_, route, _), value in labelled(answer, f"{REQUESTS}_sum").items()
        if route == "/events"
    )
    assert total >= 1


def test_orders_replays_and_conflicts_are_counted_apart(client: FlaskClient) -> None:
    for key, quantity in (("a", 1), ("b", 1), ("a", 1), ("a", 1), ("b", 1), ("a", 2)):
        order(client, key, {"customer_id": "c", "item_id": "i", "quantity": quantity})
    found = samples(ask(client, "/metrics"))
    assert found["orderapi_orders_created_total"] == 2
    assert found["orderapi_replays_total"] == 3
    assert found["orderapi_conflicts_total"] == 1


def test_an_order_whose_answer_is_made_to_fail_is_counted_as_created(client: FlaskClient) -> None:
    assert order(client, "key-1", X_Debug_Fail_After_Commit="true").status == 500
    found = ask(client, "/metrics")
    assert samples(found)["orderapi_orders_created_total"] == 1
    assert requests(found) == {("POST", "/orders", "5xx"): 1}


def test_failures_of_the_store_are_counted_by_kind(client: FlaskClient, engine: Engine) -> None:
    order(client, "key-1")
    with engine.away():
        assert ask(client, "/orders").status == 503
    found = labelled(ask(client, "/metrics"), "orderapi_store_errors_total")
    assert found == {("temporary",): 1}


def test_commits_are_measured(client: FlaskClient) -> None:
    before = samples(ask(client, "/metrics"))
    for number in range(5):
        order(client, f"key-{number}")
    after = samples(ask(client, "/metrics"))

    def growth(name: str) -> float:
        return after[name] - before[name]

    assert growth("orderapi_commit_batch_size_sum") == 5
    batches = growth("orderapi_commit_batch_size_count")
    assert batches == growth("orderapi_commit_duration_seconds_count")
    # Each replay is answered without the lock, and each batch takes it once.
    assert growth("orderapi_write_lock_wait_seconds_count") == batches == 5
    assert growth("orderapi_commit_duration_seconds_sum") > 0


def test_the_gauges_show_how_many_writes_and_readers_wait_now(
    client: FlaskClient, store: Store
) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def hold(_tx: object) -> None:
        has_begun.set()
        may_end.wait(20)

    def ask_for_events() -> None:
        client.application.test_client().get("/events?wait=20")

    waiting = [
        threading.Thread(target=store.write, args=(hold,)),
        threading.Thread(target=ask_for_events),
    ]
    for thread in waiting:
        thread.start()
    has_begun.wait(20)
    feed = client.application.extensions["feed"]
    wait_until(lambda: feed.waiting_readers() == 1, "a waiting reader")
    telemetry = client.application.extensions["telemetry"]
    telemetry.sample()
    found = {
        sample.name: sample.value
        for family in telemetry.registry().collect()
        for sample in family.samples
    }
    assert found["orderapi_write_queue_length"] == found["orderapi_waiting_readers"] == 1
    may_end.set()
    order(client, "key-1")
    for thread in waiting:
        thread.join()
    found = samples(ask(client, "/metrics"))
    assert found["orderapi_write_queue_length"] == found["orderapi_waiting_readers"] == 0


def test_the_sizes_of_the_database_and_its_disk_are_shown(
    client: FlaskClient, database: Path
) -> None:
    order(client, "key-1")
    found = samples(ask(client, "/metrics"))
    assert found["orderapi_database_bytes"] == database.stat().st_size > 0
    assert found["orderapi_wal_bytes"] == database.with_name("orders.db-wal").stat().st_size > 0
    assert found["orderapi_disk_free_bytes"] > 0


def test_a_store_that_cannot_commit_is_not_ready(client: FlaskClient, store: Store) -> None:
    assert samples(ask(client, "/metrics"))["orderapi_ready"] == 1
    # The verdict is as old as the one of /readyz may be.
    time.sleep(2.1)
    may_end = threading.Event()

    def hold(_tx: object) -> None:
        may_end.wait(20)

    writer = threading.Thread(target=store.write, args=(hold,))
    writer.start()
    wait_until(lambda: store.writes_in_hand() == 1, "a write that holds up the others")
    assert samples(ask(client, "/metrics"))["orderapi_ready"] == 0
    may_end.set()
    writer.join()


def test_every_help_text_is_a_whole_sentence(client: FlaskClient) -> None:
    for family in families(ask(client, "/metrics")):
        assert family.documentation.endswith("."), family.name
        assert family.documentation[0].isupper() or family.documentation[0].isdigit(), family.name


def test_a_worker_without_room_for_its_counters_serves_and_counts_nothing(
    client: FlaskClient,
) -> None:
    client.application.extensions["telemetry"].stop_counting()
    assert order(client, "key-1").status == 201
    assert order(client, "key-1", {"customer_id": "c"}).status == 422
    found = ask(client, "/metrics")
    assert requests(found) == {}
    assert samples(found)["orderapi_orders_created_total"] == 0
    assert samples(found)["orderapi_events_total"] == 1
