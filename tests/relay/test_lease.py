"""Only one relay delivers: one that has lost its lease moves nothing and sends nothing more."""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest

from orderapi.relay.deliver import LeaseLost
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from tests.support.engines import Engine, SqliteEngine
from tests.support.placing import place
from tests.support.relay_fakes import FakeClock, FakeReceiver, failed, relay
from tests.support.relay_receiver import (
    ORDERAPI,
    TAKE,
    Behaviour,
    position,
    receiving,
    relaying,
)
from tests.support.waiting import wait_until

TAKE_OVER = "UPDATE leases SET holder = 'another relay', fence = fence + 1"
# The contract: a relay on another host takes over within this time.
TAKE_OVER_MAX_S = 30.0


def clock_s(engine: Engine) -> float:
    """Read the clock by which leases expire, in seconds: each engine has one for all machines."""
    is_file = isinstance(engine, SqliteEngine)
    return time.clock_gettime(time.CLOCK_BOOTTIME) if is_file else time.time()


@pytest.fixture
def take_over(engine: Engine) -> Callable[[], None]:
    """Let another relay take over at this moment, as after a pause of this process."""
    return lambda: engine.execute(TAKE_OVER)


def test_a_late_move_is_refused(
    three: Store, engine: Engine, take_over: Callable[[], None]
) -> None:
    receiver = FakeReceiver(on_send=lambda _: take_over())
    with pytest.raises(LeaseLost):
        relay(three, receiver).run_once()
    assert receiver.sequences() == [1]
    assert position(engine) == 0


def test_a_late_failure_is_not_recorded_and_not_followed_by_an_attempt(
    three: Store, engine: Engine, take_over: Callable[[], None]
) -> None:
    receiver = FakeReceiver([failed(), failed()], on_send=lambda _: take_over())
    with pytest.raises(LeaseLost):
        relay(three, receiver).run_once()
    assert receiver.sequences() == [1]
    assert engine.query("SELECT failures FROM relay_position") == [(0,)]


def test_a_relay_that_loses_its_lease_in_a_pause_makes_no_further_attempt(
    three: Store, take_over: Callable[[], None]
) -> None:
    receiver = FakeReceiver([failed()])
    with pytest.raises(LeaseLost):
        relay(three, receiver, FakeClock(on_pause=take_over)).run()
    assert receiver.sequences() == [1]


def test_an_idle_relay_that_loses_its_lease_ends(
    store: Store, take_over: Callable[[], None]
) -> None:
    clock = FakeClock()
    clock.on_pause = lambda: take_over() if len(clock.pauses) == 3 else None
    with pytest.raises(LeaseLost):
        relay(store, FakeReceiver(), clock).run()
    assert sum(clock.pauses) < TAKE_OVER_MAX_S


def test_a_relay_that_has_lost_its_lease_cannot_choose_a_position(
    three: Store, engine: Engine, take_over: Callable[[], None]
) -> None:
    late = relay(three, FakeReceiver())
    late.run_once()
    take_over()
    with pytest.raises(LeaseLost):
        late.seek(1)
    assert position(engine) == 3


def test_another_relay_takes_over_from_one_that_is_suspended(backlog: Engine) -> None:
    """The first one is suspended in an attempt, and the receiver answers it late."""
    may_answer = threading.Event()

    def answer_late(number: int) -> Behaviour:
        if number > 1:
            return TAKE

        def behave(handler: BaseHTTPRequestHandler) -> None:
            may_answer.wait()
            TAKE(handler)

        return behave

    with receiving(answer_late) as receiver:
        with relaying(backlog, receiver.url, command=ORDERAPI) as first:
            wait_until(lambda: len(receiver.arrivals) == 1)
            assert first.process is not None
            first.process.send_signal(signal.SIGSTOP)
            ((expires_ms,),) = backlog.query("SELECT expires_ms FROM leases")
            assert expires_ms / 1000 - clock_s(backlog) < TAKE_OVER_MAX_S
            with relaying(backlog, receiver.url, command=ORDERAPI) as second:
                second.wait_for_log("another relay delivers")
                # The test does not wait for that time.
                backlog.execute("UPDATE leases SET expires_ms = 0")
                wait_until(lambda: position(backlog) == 3)
                first.process.send_signal(signal.SIGCONT)
                may_answer.set()
                assert first.wait() == 1
                assert "another relay delivers now" in first.log()
                with closing(open_store(backlog.url)) as store:
                    place(store, "afterwards")
                wait_until(lambda: position(backlog) == 4)
                assert second.stop() == 0
        assert receiver.sequences() == [1, 1, 2, 3, 4]
