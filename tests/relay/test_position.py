"""Where the relay continues: after a failure of the store, and with `--from`."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from orderapi.errors import StartRefused
from orderapi.relay.attempt import Message
from orderapi.relay.clock import Stopped
from orderapi.relay.deliver import PositionMoved
from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.placing import spoil_lock_file
from tests.support.relay_fakes import FakeClock, FakeReceiver, relay
from tests.support.relay_receiver import position

# A store that fails.


@pytest.mark.sqlite_only("the lock file is spoilt, so that the store reads and does not write")
def test_a_delivered_event_is_not_sent_again_while_it_cannot_be_recorded(
    three: Store, engine: Engine, database: Path
) -> None:
    spoilt: list[Path] = []

    def spoil(_: Message) -> None:
        if len(receiver.messages) == 2:
            spoilt.append(spoil_lock_file(database))

    def mend() -> None:
        if len(clock.pauses) == 3:
            spoilt.pop().unlink()

    receiver = FakeReceiver(on_send=spoil)
    clock = FakeClock(on_pause=mend).until_idle()
    with pytest.raises(Stopped):
        relay(three, receiver, clock).run()
    assert clock.pauses[:3] == [1, 2, 4]
    assert receiver.sequences() == [1, 2, 3]
    assert position(engine) == 3


def test_the_relay_waits_for_a_store_that_cannot_be_read(three: Store, engine: Engine) -> None:
    away = ExitStack()
    clock = FakeClock(on_pause=away.close).until_idle()
    receiver = FakeReceiver()
    patient = relay(three, receiver, clock)
    away.enter_context(engine.away())
    with pytest.raises(Stopped):
        patient.run()
    assert receiver.sequences() == [1, 2, 3]


def test_a_position_that_another_process_changed_is_not_overwritten(
    three: Store, engine: Engine
) -> None:
    receiver = FakeReceiver(on_send=lambda _: three.write(lambda tx: tx.relay.move_to(3)))
    with pytest.raises(PositionMoved):
        relay(three, receiver).run_once()
    assert position(engine) == 3
    assert receiver.sequences() == [1]


def test_a_record_whose_outcome_is_unknown_may_be_repeated(three: Store, engine: Engine) -> None:
    def record_unseen(_: Message) -> None:
        if len(receiver.messages) == 2:
            three.write(lambda tx: tx.relay.move_to(2))

    receiver = FakeReceiver(on_send=record_unseen)
    assert relay(three, receiver).run_once() == 3
    assert receiver.sequences() == [1, 2, 3]
    assert position(engine) == 3


# `--from`.


def test_delivering_again_from_a_sequence_number(three: Store) -> None:
    receiver = FakeReceiver()
    again = relay(three, receiver)
    again.run_once()
    again.seek(2)
    assert again.run_once() == 2
    assert receiver.sequences() == [1, 2, 3, 2, 3]


def test_a_new_position_is_durable_before_any_event_is_sent(three: Store, engine: Engine) -> None:
    receiver = FakeReceiver()
    relay(three, receiver).run_once()
    relay(three, receiver).seek(3)
    assert position(engine) == 2
    assert relay(three, receiver).run_once() == 1


def test_a_position_may_skip_an_event_that_the_receiver_always_refuses(three: Store) -> None:
    receiver = FakeReceiver()
    skipping = relay(three, receiver)
    skipping.seek(3)
    skipping.run_once()
    skipping.seek(4)
    assert receiver.sequences() == [3]


@pytest.mark.parametrize("sequence", [0, -1, 5, 2**62])
def test_a_position_outside_the_events_is_refused(
    three: Store, engine: Engine, sequence: int
) -> None:
    with pytest.raises(StartRefused, match="--from: expected 1 to 4"):
        relay(three, FakeReceiver()).seek(sequence)
    assert position(engine) == 0
