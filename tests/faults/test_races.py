"""Many requests with one key at once, over real connections to several processes."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client_crowd import Crowd
from tests.support.engines import Engine
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import ORDER, Answer, Server, serving
from tests.support.waiting import wait_until

REQUESTS = 32
ROUNDS = 12
OTHER_ORDER = {"customer_id": "cust1", "item_id": "item1", "quantity": 5}


def race(server: Server, key: str, payloads: list[dict[str, object]]) -> list[Answer]:
    """Send one request per payload at the same moment. Gives the answers in the same order."""
    start = threading.Barrier(len(payloads))
    answers: dict[int, Answer] = {}

    def send(number: int) -> None:
        start.wait()
        answers[number] = server.order(key, payloads[number])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(payloads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(payloads))]


@pytest.fixture
def roomy(tmp_path: Path, engine: Engine) -> Iterator[Server]:
    """A server of the race, which serves until the test has ended."""
    with serving(tmp_path, engine) as running:
        yield running


@promise("one key, one effect")
@promise("a replay is the same answer")
@promise("duplicates in flight wait")
def test_one_key_raced_by_32_requests_makes_one_order(roomy: Server) -> None:
    made = {}
    for round_number in range(ROUNDS):
        key = f"same-{round_number}"
        answers = race(roomy, key, [ORDER] * REQUESTS)
        assert Counter(answer.status for answer in answers) == {201: REQUESTS}
        assert len({answer.body for answer in answers}) == 1
        assert len({answer.headers["location"] for answer in answers}) == 1
        replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
        assert Counter(replayed) == {"true": REQUESTS - 1, None: 1}
        made[key] = answers[0].body
    assert roomy.counts() == dict.fromkeys(roomy.counts(), ROUNDS)
    assert assert_exactly_once(roomy.engine, made) == ROUNDS


@promise("one key, one effect")
@promise("a conflict touches nothing")
@promise("duplicates in flight wait")
def test_two_payloads_that_race_for_one_key_make_one_order_and_409_for_the_other_payload(
    roomy: Server,
) -> None:
    made = {}
    payloads: list[dict[str, object]] = [ORDER, OTHER_ORDER] * (REQUESTS // 2)
    for round_number in range(ROUNDS):
        key = f"mixed-{round_number}"
        answers = race(roomy, key, payloads)
        by_payload = [
            Counter(answer.status for answer in answers[0::2]),
            Counter(answer.status for answer in answers[1::2]),
        ]
        assert {201: REQUESTS // 2} in by_payload
        assert {409: REQUESTS // 2} in by_payload
        created = [answer for answer in answers if answer.status == 201]
        assert len({answer.body for answer in created}) == 1
        won = ORDER if answers[0].status == 201 else OTHER_ORDER
        assert created[0].json["quantity"] == won["quantity"]
        for refused in (answer for answer in answers if answer.status == 409):
            assert refused.json["type"] == "/problems/idempotency-key-reused"
        made[key] = created[0].body
    assert roomy.counts() == dict.fromkeys(roomy.counts(), ROUNDS)
    assert assert_exactly_once(roomy.engine, made) == ROUNDS


@promise("duplicates in flight wait")
def test_duplicates_of_a_request_that_waits_for_its_commit_wait_with_it(
    tmp_path: Path, engine: Engine
) -> None:
    """The first request cannot commit while the lock is held, and no duplicate overtakes it."""
    with serving(tmp_path, engine, WORKERS="3") as server:
        with server.engine.held():
            crowd = Crowd(lambda _: server.order("same"), REQUESTS, "duplicate").start()
            wait_until(lambda: server.accepted() >= REQUESTS)
            time.sleep(1.0)
            assert crowd.sent == []
        crowd.join()
        assert crowd.refused == []
        assert len(set(crowd.created.values())) == 1
        replayed = [sent.answer.headers.get("idempotent-replayed") for sent in crowd.sent]
        assert Counter(replayed) == {"true": REQUESTS - 1, None: 1}
        assert assert_exactly_once(server.engine, {"same": crowd.sent[0].answer.body}) == 1


@promise("one key, one effect")
def test_many_keys_at_once_get_one_order_each(server: Server) -> None:
    made: dict[str, bytes] = {}

    def send(client: int) -> None:
        for turn in range(10):
            key = f"own-{client}-{turn}"
            for _ in range(2):
                answer = server.order(key)
                assert answer.status == 201
                assert made.setdefault(key, answer.body) == answer.body

    threads = [threading.Thread(target=send, args=(client,)) for client in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 160
    assert assert_exactly_once(server.engine, made) == 160


def test_several_workers_take_part_in_a_race(server: Server) -> None:
    """Otherwise the races above would not test several processes."""
    processes: set[int] = set()
    for round_number in range(200):
        race(server, f"spread-{round_number}", [ORDER] * REQUESTS)
        lines = server.log_lines()
        processes |= {line["process"] for line in lines if line["message"] == "request"}
        if len(processes) >= 2:
            return
    raise AssertionError("one worker answered all requests")
