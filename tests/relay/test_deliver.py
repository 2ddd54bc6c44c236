"""What the relay delivers, when, and what it records. No test uses the network or sleeps."""

import json

import pytest

from orderapi.orders import place_order
from orderapi.records import NewOrder
from orderapi.relay.attempt import Message
from orderapi.relay.clock import Stopped
from orderapi.relay.deliver import EVENTS_MAX, ONCE_FAILURES_MAX, ReceiverGone, Undelivered
from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.placing import request_for
from tests.support.relay_fakes import START_S, FakeClock, FakeReceiver, failed, fill, relay
from tests.support.relay_receiver import position

# Order and position.


def test_every_event_is_sent_once_in_order(three: Store, engine: Engine) -> None:
    receiver = FakeReceiver()
    assert relay(three, receiver).run_once() == 3
    assert receiver.sequences() == [1, 2, 3]
    ids = engine.query("SELECT event_id FROM events ORDER BY sequence")
    assert [(message.event_id,) for message in receiver.messages] == ids
    assert [json.loads(message.body)["id"] for message in receiver.messages] == [i for (i,) in ids]
    assert position(engine) == 3


def test_a_backlog_of_several_reads_keeps_its_order(three: Store) -> None:
    fill(three, EVENTS_MAX + 7, "more")
    receiver = FakeReceiver()
    assert relay(three, receiver).run_once() == EVENTS_MAX + 10
    assert receiver.sequences() == list(range(1, EVENTS_MAX + 11))


def test_events_of_every_client_are_sent(three: Store) -> None:
    claim, _ = request_for("theirs")
    other = NewOrder("another-client", "cust1", "item1", 1)
    three.write(lambda tx: place_order(tx, claim, other))
    receiver = FakeReceiver()
    relay(three, receiver).run_once()
    assert receiver.sequences() == [1, 2, 3, 4]


def test_an_event_is_recorded_before_the_next_one_is_sent(three: Store, engine: Engine) -> None:
    positions: list[int] = []
    receiver = FakeReceiver(on_send=lambda _: positions.append(position(engine)))
    relay(three, receiver).run_once()
    assert positions == [0, 1, 2]


def test_a_crash_before_the_record_repeats_that_one_event(three: Store) -> None:
    class Crash(BaseException):
        pass

    def crash_in_the_second(_: Message) -> None:
        if len(receiver.messages) == 2:
            raise Crash

    receiver = FakeReceiver(on_send=crash_in_the_second)
    with pytest.raises(Crash):
        relay(three, receiver).run_once()
    assert relay(three, receiver).run_once() == 2
    assert receiver.sequences() == [1, 2, 2, 3]
    assert receiver.messages[1].event_id == receiver.messages[2].event_id


def test_nothing_is_sent_twice_without_a_crash(three: Store) -> None:
    receiver = FakeReceiver()
    relay(three, receiver).run_once()
    assert relay(three, receiver).run_once() == 0
    assert len(receiver.messages) == 3


def test_new_events_are_sent_when_they_are_committed(three: Store) -> None:
    receiver = FakeReceiver()
    clock = FakeClock()
    clock.on_pause = lambda: fill(three, 1, f"late-{len(clock.pauses)}")
    clock.is_stopping = lambda: len(clock.pauses) == 2
    with pytest.raises(Stopped):
        relay(three, receiver, clock).run()
    assert receiver.sequences() == [1, 2, 3, 4]


def test_once_delivers_only_the_events_that_existed_at_its_start(three: Store) -> None:
    fill(three, EVENTS_MAX, "more")
    receiver = FakeReceiver(on_send=lambda message: fill(three, 1, message.event_id))
    assert relay(three, receiver).run_once() == EVENTS_MAX + 3
    assert receiver.sequences() == list(range(1, EVENTS_MAX + 4))


def test_a_stop_takes_effect_between_two_events(three: Store, engine: Engine) -> None:
    receiver = FakeReceiver()
    clock = FakeClock(is_stopping=lambda: len(receiver.messages) == 2)
    with pytest.raises(Stopped):
        relay(three, receiver, clock).run()
    assert position(engine) == 2
    relay(three, receiver).run_once()
    assert receiver.sequences() == [1, 2, 3]


def test_a_stop_ends_the_wait_for_a_receiver(three: Store, engine: Engine) -> None:
    clock = FakeClock()
    receiver = FakeReceiver([failed()] * 9)
    clock.is_stopping = lambda: len(receiver.messages) == 4
    with pytest.raises(Stopped):
        relay(three, receiver, clock).run()
    assert receiver.sequences() == [1, 1, 1, 1]
    assert position(engine) == 0


# Failures.


@pytest.mark.parametrize(
    "status", [None, 100, 199, 300, 301, 304, 307, 400, 401, 404, 409, 429, 500, 503, 599]
)
def test_an_answer_that_is_not_2xx_delays_all_later_events(
    three: Store, status: int | None
) -> None:
    receiver = FakeReceiver([failed(status), failed(status)])
    with pytest.raises(Stopped):
        relay(three, receiver, FakeClock().until_idle()).run()
    assert receiver.sequences() == [1, 1, 1, 2, 3]
    assert len({message.event_id for message in receiver.messages[:3]}) == 1
    assert len({message.body for message in receiver.messages[:3]}) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_every_2xx_delivers_the_event(three: Store, status: int) -> None:
    receiver = FakeReceiver([failed(status)])
    relay(three, receiver).run_once()
    assert receiver.sequences() == [1, 2, 3]


def test_every_attempt_has_its_own_timestamp(three: Store) -> None:
    receiver = FakeReceiver([failed(), failed()])
    relay(three, receiver).run_once()
    times = [message.sent_at - START_S for message in receiver.messages]
    assert times == [0, 1, 3, 3, 3]


def test_pauses_double_up_to_a_maximum_and_start_again_after_a_success(three: Store) -> None:
    clock = FakeClock().until_idle()
    with pytest.raises(Stopped):
        relay(three, FakeReceiver([failed()] * 9), clock).run()
    assert clock.pauses[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    clock.pauses.clear()
    fill(three, 1, "later")
    with pytest.raises(Stopped):
        relay(three, FakeReceiver([failed()]), clock).run()
    assert clock.pauses[0] == 1


@pytest.mark.parametrize(
    ("asked", "pause_s"), [("7", 7), ("0", 1), ("999999", 3600), ("soon", 1), ("-5", 1), ("", 1)]
)
def test_retry_after_is_honoured(three: Store, asked: str, pause_s: float) -> None:
    clock = FakeClock().until_idle()
    with pytest.raises(Stopped):
        relay(three, FakeReceiver([failed(503, asked)]), clock).run()
    assert clock.pauses[0] == pause_s


def test_410_stops_the_relay(three: Store, engine: Engine) -> None:
    receiver = FakeReceiver([failed(500), failed(204), failed(410)])
    with pytest.raises(ReceiverGone, match=r"410.* event 2 "):
        relay(three, receiver, FakeClock().until_idle()).run()
    assert receiver.sequences() == [1, 1, 2]
    assert position(engine) == 1


def test_once_gives_up_after_some_consecutive_failures(three: Store, engine: Engine) -> None:
    receiver = FakeReceiver([failed(204), *[failed()] * 99])
    with pytest.raises(Undelivered, match=r"event 2 .*HTTP 500"):
        relay(three, receiver).run_once()
    assert receiver.sequences() == [1] + [2] * ONCE_FAILURES_MAX
    assert position(engine) == 1


def test_once_gives_up_when_the_receiver_asks_for_a_long_pause(
    three: Store,
) -> None:
    clock = FakeClock()
    receiver = FakeReceiver([failed(503, "31")])
    with pytest.raises(Undelivered):
        relay(three, receiver, clock).run_once()
    assert clock.pauses == []
    assert len(receiver.messages) == 1
