"""The feed of events while many clients write, many readers wait, and processes end."""

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.test_kill import RetryingClients
from tests.support.client_crowd import Crowd
from tests.support.engines import Engine
from tests.support.feed_readers import Readers
from tests.support.proof import assert_exactly_once
from tests.support.running import Answer, Server, serving
from tests.support.waiting import awake_s, wait_until

MANY = 1000
LONG_S = 30


@contextmanager
def reading(server: Server, count: int, limit: int = 1000) -> Iterator[Readers]:
    readers = Readers(server, count, limit)
    try:
        yield readers
    finally:
        readers.stop()
    assert readers.surprises == []


def wait_for_pollers(server: Server, count: int) -> None:
    """Wait until the workers have accepted `count` connections, each of a waiting reader."""
    wait_until(lambda: server.accepted() >= count, timeout_s=60)


class Polled:
    """A long poll in a thread. It notes when it was answered."""

    def __init__(self, server: Server, after: int, pool: ThreadPoolExecutor, name: str) -> None:
        self.name = name
        self.server = server
        self.answered_at = 0.0
        self._answer = pool.submit(self._ask, after)

    def _ask(self, after: int) -> Answer:
        path = f"/events?after={after}&wait={LONG_S}"
        answer = self.server.request("GET", path, headers={"X-Request-ID": self.name})
        self.answered_at = time.monotonic()
        return answer

    def answer(self) -> Answer:
        return self._answer.result(LONG_S + 10)


def process_of(server: Server, request_id: str) -> int:
    """Read from the log which process answered a request."""
    return int(server.lines_of(request_id)[0]["process"])


def test_readers_see_every_event_once_and_in_order_while_32_write(
    tmp_path: Path, engine: Engine
) -> None:
    with serving(tmp_path, engine, WORKERS="3") as server, reading(server, 4, limit=7) as slow:
        with reading(server, 4) as fast:
            crowd = Crowd(server.order, 32, "writer", count=12).start()
            seen: list[int] = []
            while len(seen) < 32 * 12:
                answer = server.request("GET", f"/events?after={seen[-1] if seen else 0}&limit=50")
                seen += [int(event["sequence"]) for event in answer.json["events"]]
                assert crowd.errors == []
            crowd.join()
            assert seen == list(range(1, 32 * 12 + 1))
            fast.wait_until_all_have(32 * 12)
        slow.wait_until_all_have(32 * 12)
        again = server.request("GET", "/events?limit=1000").json["events"]
        assert [int(event["sequence"]) for event in again] == seen
        ids = [event["data"]["order_id"] for event in again]
        assert ids == [row[0] for row in server.rows("SELECT order_id FROM orders ORDER BY 1")]
        assert assert_exactly_once(server.engine, crowd.created) == 32 * 12


def test_a_waiting_reader_gets_the_event_of_an_order_that_another_worker_made(
    server: Server,
) -> None:
    with ThreadPoolExecutor(1) as pool:
        for number in range(200):
            waiting = Polled(server, number, pool, f"waits-{number}")
            wait_for_pollers(server, 1)
            server.order(f"key-{number}", X_Request_ID=f"orders-{number}")
            answer = waiting.answer()
            assert [int(e["sequence"]) for e in answer.json["events"]] == [number + 1]
            processes = {process_of(server, f"{who}-{number}") for who in ("waits", "orders")}
            if len(processes) == 2:
                return
    raise AssertionError("one worker answered all requests")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_waiting_reader_is_answered_when_its_worker_is_told_to_stop(
    server: Server, number: signal.Signals
) -> None:
    server.order("key-1")
    with ThreadPoolExecutor(8) as pool:
        waiting = [Polled(server, 1, pool, f"waits-{n}") for n in range(8)]
        wait_for_pollers(server, 8)
        began_at = time.monotonic()
        server.signal(number)
        for poll in waiting:
            assert poll.answer().json == {"events": [], "next": 1}
            assert poll.answered_at - began_at < LONG_S / 2
    if number is signal.SIGHUP:
        assert server.order("key-2").status == 201
    assert server.stop() == 0


def test_no_order_is_refused_while_many_readers_wait_and_workers_restart(
    tmp_path: Path, engine: Engine
) -> None:
    with serving(tmp_path, engine) as server, reading(server, MANY) as readers:
        readers.wait_until_all_ask()
        first = Crowd(server.order, 8, "beside", count=15).start().join()
        assert first.refused == []
        readers.wait_until_all_have(120)
        second = Crowd(server.order, 8, "restart", count=15).start()
        server.signal(signal.SIGHUP)
        second.join()
        assert second.refused == []
        readers.wait_until_all_have(240)
        assert assert_exactly_once(server.engine, first.created | second.created) == 240


def test_a_stop_does_not_wait_for_many_readers(tmp_path: Path, engine: Engine) -> None:
    """Each reader is answered at once. Without that, gunicorn would wait for 20 s."""
    with serving(tmp_path, engine) as server, reading(server, MANY) as readers:
        readers.wait_until_all_ask()
        wait_for_pollers(server, MANY)
        began_at = awake_s()
        assert server.stop() == 0
        assert awake_s() - began_at < 20


def test_readers_get_each_event_once_when_workers_are_killed(
    tmp_path: Path, engine: Engine
) -> None:
    chance = random.Random(5)
    with serving(tmp_path, engine) as server, reading(server, 50, limit=20) as readers:
        clients = RetryingClients(server)
        for _ in range(8):
            time.sleep(chance.uniform(0.1, 0.5))
            wait_until(lambda: len(server.workers()) == 2)
            os.kill(chance.choice(server.workers()), signal.SIGKILL)
        clients.stop()
        assert clients.surprises == []
        orders = assert_exactly_once(server.engine, clients.acknowledged)
        assert orders == len(clients.acknowledged) > 20
        readers.wait_until_all_have(orders)


def test_readers_continue_after_their_last_event_when_the_service_was_killed(
    tmp_path: Path, engine: Engine
) -> None:
    with serving(tmp_path, engine) as server, reading(server, 20) as readers:
        made = Crowd(server.order, 4, "before", count=5).start().join()
        readers.wait_until_all_have(20)
        server.kill()
        server.start()
        made_later = Crowd(server.order, 4, "after", count=5).start().join()
        readers.wait_until_all_have(40)
        assert assert_exactly_once(server.engine, made.created | made_later.created) == 40
