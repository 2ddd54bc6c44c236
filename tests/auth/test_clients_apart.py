"""One client tries to see, guess, replay and block what belongs to another one."""

import threading

import pytest

from tests.support.http_messages import check_problem
from tests.support.promises import promise
from tests.support.running import Answer, Server
from tests.support.tokens import bearer, create, get, order, revoke


@pytest.fixture
def clients(guarded: Server) -> tuple[str, str]:
    """Tokens of two clients, and one order of the first client under the key `key-1`."""
    (_, alice), (_, bob) = create(guarded.database, "alice"), create(guarded.database, "bob")
    assert order(guarded, "key-1", alice).status == 201
    return alice, bob


def test_nobody_sees_another_clients_order(guarded: Server, clients: tuple[str, str]) -> None:
    alice, bob = clients
    (mine,) = get(guarded, "/orders", alice).json["orders"]
    for method in ("GET", "HEAD"):
        answer = guarded.request(method, f"/orders/{mine['order_id']}", headers=bearer(bob))
        assert answer.status == 404
    for query in ("", "?customer_id=cust1", "?idempotency_key=key-1", "?limit=100"):
        assert get(guarded, f"/orders{query}", bob).json["orders"] == []


@promise("one key, one effect")
def test_another_clients_key_is_a_different_key(guarded: Server, clients: tuple[str, str]) -> None:
    alice, bob = clients
    # Neither a replay nor a conflict: the key is free for this client, whatever the payload is.
    made = order(guarded, "key-1", bob, quantity=7)
    assert made.status == 201
    assert "idempotent-replayed" not in made.headers
    assert order(guarded, "key-1", bob, quantity=7).headers["idempotent-replayed"] == "true"
    assert order(guarded, "key-1", alice).headers["idempotent-replayed"] == "true"
    check_problem(order(guarded, "key-1", bob), "idempotency-key-reused")
    assert set(guarded.counts().values()) == {2}


def test_a_cursor_of_another_client_is_refused(guarded: Server, clients: tuple[str, str]) -> None:
    alice, bob = clients
    order(guarded, "key-2", alice)
    cursor = get(guarded, "/orders?limit=1", alice).json["next_cursor"]
    check_problem(get(guarded, f"/orders?limit=1&cursor={cursor}", bob), "validation-failed")


def test_a_feed_has_the_clients_own_events_and_skips_other_numbers(
    guarded: Server, clients: tuple[str, str]
) -> None:
    alice, bob = clients
    order(guarded, "key-2", bob)
    order(guarded, "key-3", alice)
    sequences = {
        token: [int(event["sequence"]) for event in get(guarded, "/events", token).json["events"]]
        for token in (alice, bob)
    }
    assert sequences == {alice: [1, 3], bob: [2]}
    assert get(guarded, "/events?after=2", bob).json == {"events": [], "next": 2}


def test_another_clients_order_does_not_answer_who_waits(
    guarded: Server, clients: tuple[str, str]
) -> None:
    alice, bob = clients
    answers: list[Answer] = []
    waiting = threading.Thread(
        target=lambda: answers.append(get(guarded, "/events?after=1&wait=20", bob))
    )
    waiting.start()
    order(guarded, "key-2", alice)
    made = order(guarded, "key-3", bob).json
    waiting.join(30)
    (answer,) = answers
    assert [event["subject"] for event in answer.json["events"]] == [made["order_id"]]


@promise("one key, one effect")
def test_tokens_are_rotated_in_the_middle_of_retries(guarded: Server) -> None:
    old_id, old = create(guarded.database, "shop")
    first = order(guarded, "key-1", old)
    _, new = create(guarded.database, "shop")
    revoke(guarded.database, old_id)
    replay = order(guarded, "key-1", new)
    assert (replay.status, replay.body) == (first.status, first.body)
    assert replay.headers["location"] == first.headers["location"]
    assert replay.headers["idempotent-replayed"] == "true"
    assert set(guarded.counts().values()) == {1}
