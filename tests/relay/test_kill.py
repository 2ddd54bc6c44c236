"""A receiver that fails at random, and a relay that is killed at random."""

import random
import re
import sys
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from orderapi.store.open import open_store
from tests.support.engines import Engine, SqliteEngine
from tests.support.placing import place
from tests.support.relay_receiver import (
    RESET_MID_BODY,
    TAKE,
    Behaviour,
    Receiver,
    RelayProcess,
    filled,
    position,
    receiving,
    reset_after,
    status,
)
from tests.support.waiting import wait_until

EVENTS = 120
DELIVERIES_MAX = 20

FAULTS = {
    "500": (10, status(500, b"no")),
    "503 with Retry-After": (5, status(503, Retry_After="1")),
    "reset before the answer": (5, reset_after(b"")),
    "reset mid-body": (7, RESET_MID_BODY),
    "410": (1, status(410)),
}
SILENCE = "time-out"


class Moody:
    """Acknowledges or fails at random. Each kind of failure occurs at least once."""

    def __init__(self, receiver: Receiver, chance: random.Random) -> None:
        self.counted: Counter[str] = Counter()
        self._chance = chance
        weights = {name: weight for name, (weight, _) in FAULTS.items()} | {SILENCE: 1}
        self._kinds = [*weights, "taken"]
        self._due = chance.sample(list(weights), k=len(weights))
        self._weights = [*weights.values(), 100 - sum(weights.values())]
        self._behaviours = {name: behaviour for name, (_, behaviour) in FAULTS.items()}
        self._behaviours |= {SILENCE: receiver.silence(), "taken": TAKE}

    def behave(self, number: int) -> Behaviour:
        if self._due and number % 10 == 0:
            kind = self._due.pop()
        else:
            (kind,) = self._chance.choices(self._kinds, self._weights)
        self.counted[kind] += 1
        return self._behaviours[kind]


@pytest.mark.timeout(300)
def test_random_faults_and_kills_lose_and_reorder_nothing(engine: Engine) -> None:
    chance = random.Random(4_000)
    filled(engine, EVENTS // 2)
    with receiving() as receiver:
        moody = Moody(receiver, chance)
        receiver.behave = moody.behave
        relay = RelayProcess(engine, receiver.url, ORDERAPI_LOG_LEVEL="debug")
        placing = threading.Thread(target=place_more, args=(engine,))
        placing.start()
        kills, gone = run_and_kill(relay, receiver, chance)
        placing.join()
    assert receiver.refused == []
    assert_in_order(receiver.sequences())
    assert set(receiver.taken()) == set(range(1, EVENTS + 1))
    assert_one_id_each(receiver, engine)
    # Only a crash, or an answer that came too late, causes an event to be sent again.
    late = len(re.findall(r"sent event \d+: no complete answer", relay.log()))
    repeats = len(receiver.taken()) - EVENTS
    assert repeats <= kills + late
    # Some of the relays that got a 410 were killed before they ended by themselves.
    assert gone <= moody.counted["410"]
    assert kills >= 3
    assert set(moody.counted) == {*FAULTS, SILENCE, "taken"}
    sys.stdout.write(
        f"\n{EVENTS} events, {len(receiver.arrivals)} deliveries, {dict(moody.counted)},"
        f" {kills} kills, {repeats} taken again, 0 lost, 0 out of order\n"
    )


def place_more(engine: Engine) -> None:
    with closing(open_store(engine.url)) as store:
        for number in range(EVENTS // 2):
            place(store, f"more-{number}")
            time.sleep(0.02)


def run_and_kill(relay: RelayProcess, receiver: Receiver, chance: random.Random) -> tuple[int, int]:
    """Kill the relay soon after it has delivered something, and start it again, to the end.

    Gives how often it was killed, and how often it ended by itself, at a 410.
    """
    kills = gone = 0
    while position(relay.engine) < EVENTS:
        before = len(receiver.arrivals)
        enough = before + chance.randint(1, DELIVERIES_MAX)
        relay.start("--total", "1")
        wait_until(
            lambda: (
                len(receiver.arrivals) >= enough  # noqa: B023 - asked at once
                or not relay.is_running()
                or position(relay.engine) == EVENTS
            )
        )
        time.sleep(chance.uniform(0, 0.005))
        if relay.is_running():
            relay.kill()
            if not isinstance(relay.engine, SqliteEngine):
                # A relay on another machine would wait until the lease of the dead one expires.
                relay.engine.execute("UPDATE leases SET expires_ms = 0")
            kills += 1
        else:
            assert relay.wait() == 3
            gone += 1
        newest = max(receiver.sequences())
        assert newest - 1 <= position(relay.engine) <= newest
    return kills, gone


def assert_in_order(sequences: list[int]) -> None:
    """Assert that each delivery is of the next event or repeats the last one."""
    newest = 0
    for sequence in sequences:
        assert sequence in (newest, newest + 1)
        newest = sequence


def assert_one_id_each(receiver: Receiver, engine: Engine) -> None:
    stored = engine.query("SELECT sequence, event_id FROM events")
    sent = {(arrival.sequence, arrival.headers["webhook-id"]) for arrival in receiver.arrivals}
    assert sent == set(stored)
