"""Only one relay delivers: one that has lost its lease moves nothing and sends nothing more."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from orderapi.relay.deliver import LeaseLost
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place
from tests.support.relay_fakes import FakeClock, FakeReceiver, failed, relay
from tests.support.relay_receiver import (
    ORDERAPI,
    TAKE,
    Behaviour,
    filled,
    position,
    receiving,
    relaying,
)
from tests.support.rows import query
from tests.support.waiting import wait_until

TAKE_OVER = "UPDATE leases SET holder = 'another relay', fence = fence + 1"
# The contract: a relay on another host takes over within this time.
TAKE_OVER_MAX_S = 30.0


def execute(database: Path, sql: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute(sql)


@pytest.fixture
def take_over(database: Path) -> Callable[[], None]:
    """Let another relay take over at this moment, as after a pause of this process."""
    return lambda: execute(database, TAKE_OVER)


def test_a_late_move_is_refused(
    three: SqliteStore, database: Path, take_over: Callable[[], None]
) -> None:
    receiver = FakeReceiver(on_send=lambda _: take_over())
    with pytest.raises(LeaseLost):
        relay(three, receiver).run_once()
    assert receiver.sequences() == [1]
    assert position(database) == 0


def test_a_late_failure_is_not_recorded_and_not_followed_by_an_attempt(
    three: SqliteStore, database: Path, take_over: Callable[[], None]
) -> None:
    receiver = FakeReceiver([failed(), failed()], on_send=lambda _: take_over())
    with pytest.raises(LeaseLost):
        relay(three, receiver).run_once()
    assert receiver.sequences() == [1]
    assert query(database, "SELECT failures FROM relay_position") == [(0,)]


def test_a_relay_that_loses_its_lease_in_a_pause_makes_no_further_attempt(
    three: SqliteStore, take_over: Callable[[], None]
) -> None:
    receiver = FakeReceiver([failed()])
    with pytest.raises(LeaseLost):
        relay(three, receiver, FakeClock(on_pause=take_over)).run()
    assert receiver.sequences() == [1]


def test_an_idle_relay_that_loses_its_lease_ends(
    store: SqliteStore, take_over: Callable[[], None]
) -> None:
    clock = FakeClock()
    clock.on_pause = lambda: take_over() if len(clock.pauses) == 3 else None
    with pytest.raises(LeaseLost):
        relay(store, FakeReceiver(), clock).run()
    assert sum(clock.pauses) < TAKE_OVER_MAX_S


def test_a_relay_that_has_lost_its_lease_cannot_choose_a_position(
    three: SqliteStore, database: Path, take_over: Callable[[], None]
) -> None:
    late = relay(three, FakeReceiver())
    late.run_once()
    take_over()
    with pytest.raises(LeaseLost):
        late.go_to(1)
    assert position(database) == 3


def test_another_relay_takes_over_from_one_that_is_suspended(tmp_path: Path) -> None:
    """The first one is suspended in an attempt, and the receiver answers it late."""
    database = filled(tmp_path / "orders.db", 3)
    may_answer = threading.Event()

    def answer_late(number: int) -> Behaviour:
        if number > 1:
            return TAKE

        def behave(handler: BaseHTTPRequestHandler) -> None:
            may_answer.wait()
            TAKE(handler)

        return behave

    with receiving(answer_late) as receiver:
        with relaying(database, receiver.url, command=ORDERAPI) as first:
            wait_until(lambda: len(receiver.arrivals) == 1)
            assert first.process is not None
            first.process.send_signal(signal.SIGSTOP)
            ((expires_ms,),) = query(database, "SELECT expires_ms FROM leases")
            now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
            assert expires_ms / 1000 - now_s < TAKE_OVER_MAX_S
            with relaying(database, receiver.url, command=ORDERAPI) as second:
                second.wait_for_log("another relay delivers")
                # The test does not wait for that time.
                execute(database, "UPDATE leases SET expires_ms = 0")
                wait_until(lambda: position(database) == 3)
                first.process.send_signal(signal.SIGCONT)
                may_answer.set()
                assert first.wait() == 1
                assert "another relay delivers now" in first.log()
                with closing(SqliteStore(database)) as store:
                    place(store, "afterwards")
                wait_until(lambda: position(database) == 4)
                assert second.stop() == 0
        assert receiver.sequences() == [1, 1, 2, 3, 4]
