"""What the relay records for the metrics: each failure, until the event is delivered."""

from contextlib import closing
from pathlib import Path

import pytest

from orderapi.records import RelayState
from orderapi.relay.clock import Stopped
from orderapi.relay.deliver import LEASE, ReceiverGone, Undelivered
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from tests.support.engines import Engine
from tests.support.placing import spoil_lock_file
from tests.support.relay_fakes import DELIVERED, FakeClock, FakeReceiver, failed, relay


@pytest.fixture(autouse=True)
def _patient_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a busy machine any time to record a failure."""
    monkeypatch.setattr("orderapi.relay.deliver.RECORD_FAILURE_MAX_S", 30.0)


def state(store: Store) -> RelayState:
    return store.read(lambda tx: tx.relay.find_state())


def test_failures_are_counted_from_the_first_to_the_last(three: Store) -> None:
    seen: list[RelayState] = []
    clock = FakeClock(on_pause=lambda: seen.append(state(three))).until_idle()
    script = [DELIVERED, failed(500), failed(500), failed(None)]
    with pytest.raises(Stopped):
        relay(three, FakeReceiver(script), clock).run()
    blocked, idle = seen[:3], seen[3]
    assert [(found.position, found.last_sequence) for found in blocked] == [(1, 3)] * 3
    assert [found.failures for found in blocked] == [1, 2, 3]
    assert [found.blocked_reason for found in blocked] == ["HTTP 500", "HTTP 500", "no answer"]
    (since,) = {found.blocked_since for found in blocked}
    assert since is not None
    assert idle == RelayState(3, 3, None, 0, None, None)


def test_a_restarted_relay_continues_the_count_of_failures(three: Store, engine: Engine) -> None:
    for _ in range(2):
        with pytest.raises(Undelivered):
            relay(three, FakeReceiver([failed()] * 5)).run_once()
    with closing(open_store(engine.url)) as another:
        assert (state(another).failures, state(another).position) == (10, 0)


def test_a_410_stays_recorded_after_the_relay_has_ended(three: Store) -> None:
    with pytest.raises(ReceiverGone):
        relay(three, FakeReceiver([failed(410)])).run()
    found = state(three)
    assert (found.failures, found.blocked_reason, found.position) == (1, "HTTP 410", 0)
    assert found.blocked_since is not None


def test_a_new_position_ends_the_failures(three: Store) -> None:
    with pytest.raises(ReceiverGone):
        relay(three, FakeReceiver([failed(410)])).run()
    relay(three, FakeReceiver()).seek(3)
    found = state(three)
    assert (found.position, found.failures, found.blocked_since) == (2, 0, None)


@pytest.mark.sqlite_only("the lock file is spoilt, so that the store reads and does not write")
def test_a_failure_that_cannot_be_recorded_does_not_stop_the_relay(
    three: Store, database: Path
) -> None:
    assert three.lease(LEASE)
    spoilt = [spoil_lock_file(database)]

    def mend() -> None:
        if spoilt:
            spoilt.pop().unlink()

    clock = FakeClock(on_pause=mend).until_idle()
    receiver = FakeReceiver([failed()])
    with pytest.raises(Stopped):
        relay(three, receiver, clock).run()
    assert receiver.sequences() == [1, 1, 2, 3]
