"""The client returns events in order and each event once, although polls fail."""

import json
import random
import threading
import time
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from orderapi.client import DeadlineExceeded, OrderClient, ValidationFailed
from tests.faults.test_chaos import kill_worker
from tests.support.chaos import Fault, chaos
from tests.support.client_answers import Always, customer, problem, said
from tests.support.front import Front, Tamper
from tests.support.raw_server import http, raw_server
from tests.support.running import serving

WRITERS = 4
ORDERS_EACH = 25


def page(*sequences: int, following: int | None = None) -> Tamper:
    events = [{"id": f"event-{n}", "sequence": str(n).zfill(19)} for n in sequences]
    last = sequences[-1] if sequences else 0
    document = {"events": events, "next": last if following is None else following}
    return said(200, json.dumps(document).encode(), content_type="application/json")


def asked(front: Front, name: str) -> list[int]:
    """Return the value of a query parameter in every poll, in order."""
    return [int(parse_qs(urlsplit(path).query)[name][0]) for _, path, _ in front.requests]


def test_a_lost_poll_is_retried_from_the_same_place(
    front: Front, fronted_client: OrderClient
) -> None:
    front.answers = {
        1: page(1, 2, 3),
        2: said(200, b'{"events": [{"se'),
        3: problem(503),
        4: said(200, b'{"events": [{"sequence": "x"}], "next": 9}'),
        5: page(4),
    }
    events = fronted_client.events(follow=False)
    assert [event["id"] for event in islice(events, 4)] == [f"event-{n}" for n in (1, 2, 3, 4)]
    assert asked(front, "after") == [0, 3, 3, 3, 3]


@pytest.mark.parametrize(
    "wrong",
    [page(1, 2), page(3, 4), page(5, 4), page(4, 4), page(4, following=3), page(following=2),
     page(10**19), page(4, following=10**19),
     said(200, b'{"events": [], "next": true}'),
     said(200, b'{"events": [{"sequence": "' + b"9" * 5000 + b'"}], "next": 9}')],
)  # fmt: skip
def test_a_page_that_does_not_continue_the_feed_is_a_lost_answer(
    front: Front, fronted_client: OrderClient, wrong: Tamper
) -> None:
    front.answers = {1: page(3), 2: wrong, 3: page(4)}
    events = fronted_client.events(follow=False)
    assert [int(event["sequence"]) for event in islice(events, 2)] == [3, 4]
    assert asked(front, "after") == [0, 3, 3]


def test_a_following_iterator_pauses_after_an_empty_page_that_arrived_early() -> None:
    """A service that stops, or that has too many readers, answers before the wait is over."""
    empty = http(200, b'{"events": [], "next": 0}')
    with raw_server() as server, OrderClient(server.url) as client:
        server.answers = {1: empty, 2: empty}
        server.answer = http(200, b'{"events": [{"sequence": "1"}], "next": 1}')
        started = time.monotonic()
        assert next(client.events()) == {"sequence": "1"}
        # Two pauses of about a second, each of at least half a second.
        assert time.monotonic() - started >= 1.0
    assert all(b"wait=20" in request for request in server.requests)
    assert len(server.requests) == 3


def test_without_following_it_ends_with_the_last_event(
    front: Front, fronted_client: OrderClient
) -> None:
    front.answers = {1: page(8, 9), 2: page(following=12)}
    events = fronted_client.events(after=7, follow=False)
    assert [int(event["sequence"]) for event in events] == [8, 9]
    assert list(events) == []
    assert asked(front, "after") == [7, 9]
    assert set(asked(front, "wait")) == {0}
    # The numbers of other clients' events are skipped.
    assert events.after == 12


def test_after_is_the_sequence_of_the_last_event_that_was_returned(
    front: Front, fronted_client: OrderClient
) -> None:
    front.answers = Always(page(5, 6, 7))
    events = fronted_client.events(after=4, follow=False)
    assert events.after == 4
    next(events)
    next(events)
    assert events.after == 6


def test_an_iterator_that_raised_continues_at_the_same_place(
    front: Front, fronted_client: OrderClient
) -> None:
    front.answers = {1: page(1)}
    events = fronted_client.events(follow=False)
    assert next(events)["id"] == "event-1"
    front.answers = Always(said(502))
    with pytest.raises(DeadlineExceeded):
        next(events)
    front.answers = Always(page(2))
    assert next(events)["id"] == "event-2"
    assert set(asked(front, "after")) == {0, 1}


def test_a_sequence_beyond_the_last_event_is_refused(client: OrderClient) -> None:
    with pytest.raises(ValidationFailed) as caught:
        next(client.events(after=10**6))
    assert list(caught.value.errors) == ["after"]
    with pytest.raises(ValueError, match="after"):
        client.events(after=-1)


def test_a_long_poll_may_take_longer_than_other_attempts(front: Front) -> None:
    with (
        OrderClient(front.url) as other,
        OrderClient(front.url, deadline_s=20, attempt_s=0.5) as client,
    ):
        events = client.events(after=last(other))
        front.requests.clear()
        orders = []
        timer = threading.Timer(1.5, lambda: orders.append(other.create(customer(), "i", 1)))
        timer.start()
        event = next(events)
        timer.join()
    assert [event["subject"]] == [order.order_id for order in orders]
    (poll,) = [path for _, path, _ in front.requests if path.startswith("/events")]
    assert "wait=20" in poll


def test_each_event_comes_once_while_writers_the_network_and_the_server_fail(
    tmp_path: Path,
) -> None:
    chance = random.Random(60_000)
    faults = [Fault.NONE] * 6 + [fault for fault in Fault if fault is not Fault.LATE]
    with (
        serving(tmp_path) as server,
        chaos(server, lambda: chance.choice(faults), chance=chance) as proxy,
        OrderClient(proxy.url, attempt_s=5) as client,
    ):
        made: list[str] = []

        def write(number: int) -> None:
            orders = (client.create(f"customer-{number}", f"{n}", 1) for n in range(ORDERS_EACH))
            made.extend(order.order_id for order in orders)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        seen = []
        for event in islice(client.events(), WRITERS * ORDERS_EACH):
            seen.append(event)
            if len(seen) % 30 == 0:
                kill_worker(server, chance)
        for thread in threads:
            thread.join()
        assert list(client.events(len(seen), follow=False)) == []
    assert [int(event["sequence"]) for event in seen] == list(range(1, len(seen) + 1))
    assert len({event["id"] for event in seen}) == len(seen)
    assert sorted(event["subject"] for event in seen) == sorted(made)


def last(client: OrderClient) -> int:
    """Read all events, and return the sequence of the last one."""
    events = client.events(follow=False)
    for _ in events:
        pass
    return events.after
