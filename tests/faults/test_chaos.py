"""Two thousand calls, while the network and the server fail in every way that `Fault` lists."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from orderapi.client import Order, OrderClient
from tests.support.chaos import ChaosProxy, Fault, chaos
from tests.support.engines import Engine
from tests.support.front import run
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import Server, serving

pytestmark = pytest.mark.without_pgbouncer(
    "the network of the clients is what fails here, and the pool of connections is not concerned"
)

CALLS = 2000
CLIENTS = 24
# A late answer takes longer than an attempt, so the attempt fails at its time limit.
ATTEMPT_S = 1.0
LATE_S = 1.5
# More kills would make the test too long, because all calls wait until the next start.
KILLS_MAX = 24
WEIGHTS = dict.fromkeys(Fault, 5.0) | {Fault.NONE: 55.0, Fault.LATE: 2.0}


class Callers:
    """Threads that share one client and make `CALLS` orders. The client chooses the keys."""

    def __init__(self, url: str) -> None:
        self.client = OrderClient(url, deadline_s=90, attempt_s=ATTEMPT_S)
        self.orders: dict[int, Order] = {}
        self.errors: list[BaseException] = []
        self._numbers = iter(range(CALLS))
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    @property
    def are_calling(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            try:
                self.orders[number] = self.client.create(*asked_for(number))
            except BaseException as error:
                self.errors.append(error)


def asked_for(number: int) -> tuple[str, str, int]:
    return f"customer-{number}", f"item-{number % 7}", 1 + number % 100


@promise("one key, one effect")
@promise("an error is not a verdict")
@pytest.mark.timeout(300)
def test_calls_through_a_bad_network_make_one_order_each(
    tmp_path: Path, engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(40_000)
    with serving(tmp_path, engine) as server:
        with chaos(server, weighted(chance), late_s=LATE_S, chance=chance) as proxy:
            callers = Callers(proxy.url)
            callers.join()
            listed = list(callers.client.list())
            callers.client.close()
        assert listed == sorted(callers.orders.values(), key=lambda o: o.order_id, reverse=True)
        assert min(proxy.counts[fault] for fault in Fault) >= 10
        record_property("chaos", figures(server, proxy, callers))
        assert_one_order_per_call(server, callers)


@promise("one key, one effect")
@promise("a 201 is durable")
@promise("an error is not a verdict")
@pytest.mark.timeout(300)
def test_calls_through_a_bad_network_to_a_server_that_is_killed_make_one_order_each(
    tmp_path: Path, engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(50_000)
    kills = {"masters": 0, "workers": 0}
    with serving(tmp_path, engine) as server:
        with chaos(server, weighted(chance), late_s=LATE_S, chance=chance) as proxy:
            callers = Callers(proxy.url)
            while callers.are_calling:
                time.sleep(chance.uniform(0.2, 0.8))
                if sum(kills.values()) >= KILLS_MAX:
                    continue
                if kills["workers"] <= kills["masters"]:
                    kills["workers"] += kill_worker(server, chance)
                else:
                    server.kill()
                    server.start()
                    kills["masters"] += 1
            callers.join()
            callers.client.close()
        assert min(kills.values()) >= 2
        record_property("chaos", f"{figures(server, proxy, callers)}; killed: {kills}")
        assert_one_order_per_call(server, callers)


def weighted(chance: random.Random) -> Callable[[], Fault]:
    return lambda: chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def kill_worker(server: Server, chance: random.Random) -> int:
    workers = server.workers()
    if not workers:
        return 0
    with suppress(ProcessLookupError):
        os.kill(chance.choice(workers), signal.SIGKILL)
    return 1


def assert_one_order_per_call(server: Server, callers: Callers) -> None:
    assert callers.errors == []
    assert sorted(callers.orders) == list(range(CALLS))
    for number, order in callers.orders.items():
        assert (order.customer_id, order.item_id, order.quantity) == asked_for(number)
    assert server.counts() == dict.fromkeys(server.counts(), CALLS)
    stored = {order_id for (order_id,) in server.rows("SELECT order_id FROM orders")}
    assert stored == {order.order_id for order in callers.orders.values()}
    assert assert_exactly_once(server.engine, {}) == CALLS
    audited = run("--database", server.engine.url_text, command="audit")
    assert audited.output == f"audited {CALLS:,} orders: nothing breaks an invariant\n"


def figures(server: Server, proxy: ChaosProxy, callers: Callers) -> str:
    stored = [order_id for (order_id,) in server.rows("SELECT order_id FROM orders")]
    known = {order.order_id for order in callers.orders.values()}
    attempts = sum(proxy.counts.values())
    faults = {fault.value: n for fault, n in proxy.counts.items() if fault is not Fault.NONE}
    return (
        f"{CALLS:,} calls in {attempts:,} attempts, {sum(faults.values()):,} faults {faults}; "
        f"{len(stored):,} orders, duplicates {len(stored) - len(known)}, "
        f"lost {len(known - set(stored)) + CALLS - len(callers.orders)}"
    )
