"""`GET /events`: pages of the feed; without a server."""

import pytest
from flask.testing import FlaskClient

from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.http_messages import ask, check_problem, order
from tests.support.placing import place, place_for
from tests.support.running import Answer

SEQUENCE_MAX = 2**63 - 1
# This is longer than any of these tests may take. A reader that waits for so long has failed.
LONG_S = 30


def sequences(answer: Answer) -> list[int]:
    assert answer.status == 200, answer
    return [int(event["sequence"]) for event in answer.json["events"]]


def test_a_feed_without_events_is_empty(client: FlaskClient) -> None:
    answer = ask(client, "/events")
    assert (answer.status, answer.json) == (200, {"events": [], "next": 0})
    assert answer.headers["content-type"] == "application/json"


def test_an_order_is_an_event_with_what_its_answer_showed(client: FlaskClient) -> None:
    placed = order(client, "key-1", {"customer_id": "caf\u00e9", "item_id": '"', "quantity": 3})
    (event,) = ask(client, "/events").json["events"]
    assert event["data"] == placed.json
    assert event["subject"] == placed.json["order_id"]
    assert set(event) == {
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "sequence",
        "data",
    }
    assert (event["specversion"], event["source"]) == ("1.0", "/orders")
    assert (event["type"], event["datacontenttype"]) == ("order.created", "application/json")
    assert event["sequence"] == "0000000000000000001"


def test_an_event_never_changes(client: FlaskClient) -> None:
    order(client, "key-1")
    first = ask(client, "/events").json["events"]
    order(client, "key-2")
    assert ask(client, "/events").json["events"][:1] == first


def test_replays_conflicts_and_refusals_are_no_events(client: FlaskClient) -> None:
    order(client, "key-1")
    assert order(client, "key-1").headers["idempotent-replayed"] == "true"
    assert order(client, "key-1", {"customer_id": "c", "item_id": "i", "quantity": 9}).status == 409
    assert order(client, "key-2", b"{}").status == 422
    assert sequences(ask(client, "/events")) == [1]


def test_a_failure_after_the_commit_is_an_event(client: FlaskClient) -> None:
    assert order(client, "key-1", X_Debug_Fail_After_Commit="true").status == 500
    assert sequences(ask(client, "/events")) == [1]


def test_pages_follow_each_other_by_next(client: FlaskClient, store: Store) -> None:
    for number in range(7):
        place(store, f"key-{number}")
    seen: list[int] = []
    after = 0
    while True:
        answer = ask(client, f"/events?after={after}&limit=3")
        if not answer.json["events"]:
            break
        seen += sequences(answer)
        after = answer.json["next"]
        assert after == seen[-1]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert answer.json == {"events": [], "next": 7}


def test_after_accepts_the_sequence_of_an_event_with_its_leading_zeros(
    client: FlaskClient, store: Store
) -> None:
    for number in range(3):
        place(store, f"key-{number}")
    second = ask(client, "/events").json["events"][1]["sequence"]
    assert sequences(ask(client, f"/events?after={second}")) == [3]


def test_a_page_has_100_events_if_the_query_does_not_say(client: FlaskClient, store: Store) -> None:
    for number in range(102):
        place(store, f"key-{number}")
    assert sequences(ask(client, "/events")) == list(range(1, 101))
    assert sequences(ask(client, "/events?limit=1000")) == list(range(1, 103))
    assert sequences(ask(client, "/events?limit=101&wait=30")) == list(range(1, 102))


@pytest.mark.parametrize("query", ["", "&", "after=0", "limit=1", "limit=1000", "wait=0", "wait=1"])
def test_the_minimum_and_the_maximum_of_each_parameter_are_accepted(
    client: FlaskClient, query: str
) -> None:
    order(client, "key-1")
    assert sequences(ask(client, f"/events?{query}")) == [1]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=10e2", "limit"),
        ("limit=" + "9" * 4000, "limit"),
        ("limit=5&limit=5", "limit"),
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("wait=1.5", "wait"),
        ("wait=", "wait"),
        ("wait", "wait"),
        ("wait=1&wait=1", "wait"),
        ("after=-1", "after"),
        ("after=", "after"),
        ("after=1.0", "after"),
        ("after=+1", "after"),
        ("after=0x1", "after"),
        ("after=%D9%A5", "after"),
        ("after=1%0a", "after"),
        ("after=0&after=0", "after"),
        ("after=1&afte%72=1", "after"),
        (f"after={SEQUENCE_MAX + 1}", "after"),
        ("after=" + "0" * 20, "after"),
        ("after=" + "9" * 4000, "after"),
        ("cursor=1", "cursor"),
        ("After=1", "After"),
        ("=5", ""),
        ("%3Cscript%3E=1", "<script>"),
    ],
)
def test_a_bad_unknown_or_repeated_parameter_is_named(
    client: FlaskClient, query: str, name: str
) -> None:
    order(client, "key-1")
    document = check_problem(ask(client, f"/events?{query}"), "validation-failed")
    assert list(document["errors"]) == [name]
    assert all(isinstance(message, str) and message for message in document["errors"][name])


def test_every_bad_parameter_is_named(client: FlaskClient) -> None:
    answer = ask(client, "/events?limit=0&after=x&wait=99&foo=1")
    named = check_problem(answer, "validation-failed")["errors"]
    assert set(named) == {"limit", "after", "wait", "foo"}


@pytest.mark.parametrize("wait", [0, LONG_S])
@pytest.mark.parametrize("after", [2, 10**18, SEQUENCE_MAX])
def test_after_beyond_the_last_event_is_refused(client: FlaskClient, after: int, wait: int) -> None:
    order(client, "key-1")
    document = check_problem(ask(client, f"/events?after={after}&wait={wait}"), "validation-failed")
    assert list(document["errors"]) == ["after"]


def test_head_and_options_are_answered(client: FlaskClient) -> None:
    order(client, "key-1")
    shown = ask(client, "/events")
    head = ask(client, "/events", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(shown.body))
    assert ask(client, "/events", method="OPTIONS").headers["allow"] == "GET, HEAD, OPTIONS"
    check_problem(ask(client, "/events", method="POST"), "method-not-allowed")


def test_a_client_sees_only_its_own_events(client: FlaskClient, store: Store) -> None:
    place_for(store, "another")
    place(store, "key-1")
    place_for(store, "another")
    place(store, "key-2")
    assert sequences(ask(client, "/events")) == [2, 4]
    answer = ask(client, "/events?after=2&limit=1")
    assert (sequences(answer), answer.json["next"]) == ([4], 4)


def test_the_number_of_a_skipped_event_is_not_beyond_the_last(
    client: FlaskClient, store: Store
) -> None:
    place(store, "key-1")
    place_for(store, "another")
    assert ask(client, "/events?after=2").json == {"events": [], "next": 2}
    assert ask(client, "/events?after=1").json == {"events": [], "next": 1}


@pytest.mark.parametrize("wait", [0, LONG_S])
def test_a_store_that_cannot_be_reached_is_a_503(
    client: FlaskClient, engine: Engine, wait: int
) -> None:
    order(client, "key-1")
    with engine.away():
        answer = ask(client, f"/events?after=1&wait={wait}")
    check_problem(answer, "store-unavailable")
    assert answer.headers["retry-after"]
