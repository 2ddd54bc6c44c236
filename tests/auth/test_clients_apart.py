"""One client tries to see, guess, replay and block the orders of another client."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.http_messages import check_problem
from tests.support.promises import promise
from tests.support.running import Answer, Server
from tests.support.tokens import bearer, create, get, order, revoke


@pytest.fixture
def clients(guarded: Server) -> tuple[str, str]:
    """Tokens of two clients, and one order of the first client under the key `key-1`."""
    (_, alice), (_, bob) = create(guarded.engine, "alice"), create(guarded.engine, "bob")
    assert order(guarded, "key-1", alice).status == 201
    return alice, bob


def test_no_client_sees_the_order_of_another_client(
    guarded: Server, clients: tuple[str, str]
) -> None:
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


def test_another_clients_order_does_not_answer_a_reader_that_waits(
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
    old_id, old = create(guarded.engine, "shop")
    first = order(guarded, "key-1", old)
    _, new = create(guarded.engine, "shop")
    revoke(guarded.engine, old_id)
    replay = order(guarded, "key-1", new)
    assert (replay.status, replay.body) == (first.status, first.body)
    assert replay.headers["location"] == first.headers["location"]
    assert replay.headers["idempotent-replayed"] == "true"
    assert set(guarded.counts().values()) == {1}


def test_another_clients_order_looks_like_no_order(
    guarded: Server, clients: tuple[str, str]
) -> None:
    alice, bob = clients
    (mine,) = get(guarded, "/orders", alice).json["orders"]
    seen = []
    for order_id in (mine["order_id"], "01890000-0000-7000-8000-000000000000"):
        answer = get(guarded, f"/orders/{order_id}", bob)
        problem = check_problem(answer, "not-found")
        del problem["request_id"]
        varying = ("x-request-id", "date")
        seen.append((problem, {k: v for k, v in answer.headers.items() if k not in varying}))
    assert seen[0] == seen[1]


@promise("one key, one effect")
def test_clients_that_race_for_one_key_get_an_order_each(guarded: Server) -> None:
    tokens = [create(guarded.engine, f"client-{number}")[1] for number in range(2)]
    tries = [(token, quantity) for token in tokens for quantity in (1, 1, 1, 2, 2, 2)]
    start = threading.Barrier(len(tries))

    def place(sent: tuple[str, int]) -> tuple[str, int, str]:
        token, quantity = sent
        start.wait()
        answer = order(guarded, "key-1", token, quantity)
        return token, answer.status, answer.headers.get("location", "")

    with ThreadPoolExecutor(len(tries)) as pool:
        outcomes = list(pool.map(place, tries))
    for token in tokens:
        mine = [(status, location) for owner, status, location in outcomes if owner == token]
        # Only what the client itself has sent decides: one payload wins, and the other conflicts.
        assert sorted(status for status, _ in mine) == [201] * 3 + [409] * 3
        assert len({location for status, location in mine if status == 201}) == 1
    assert set(guarded.counts().values()) == {2}


@promise("one key, one effect")
def test_tokens_are_rotated_while_many_requests_are_retried(guarded: Server) -> None:
    """Each client sends every order until it was accepted twice, and changes the token on a 401."""
    token_id, first = create(guarded.engine, "shop")
    tokens = [first]

    def retry(key: str) -> set[str]:
        locations: list[str] = []
        while len(locations) < 2:
            answer = order(guarded, key, tokens[-1])
            assert answer.status in (201, 401)
            if answer.status == 201:
                locations.append(answer.headers["location"])
        return set(locations)

    keys = [f"key-{number}" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(retry, keys)
        for _ in range(3):
            new_id, new = create(guarded.engine, "shop")
            tokens.append(new)
            revoke(guarded.engine, token_id)
            token_id = new_id
        assert [len(locations) for locations in answers] == [1] * len(keys)
    assert set(guarded.counts().values()) == {len(keys)}
