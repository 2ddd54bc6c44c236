"""Answers that exist already, while the batch that would find them does not commit."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from orderapi.errors import KeyReused
from orderapi.store.contract import Store
from orderapi.store.group_commit import PATIENCE_S
from orderapi.store.jobs import Job
from orderapi.store.sqlite.placements import LOOK_UPS
from orderapi.store.thread_drain import ThreadDrain
from tests.support.engines import Engine
from tests.support.placing import first_of_many, place
from tests.support.promises import promise
from tests.support.waiting import awake_s, wait_until

# Long after the look-up, and long before the deadline of a request, which is 8 s.
SHORT_S = 5.0


def test_a_batch_finds_the_replay_and_the_conflict_of_a_known_key(store: Store) -> None:
    first = first_of_many(store)
    with pytest.raises(KeyReused):
        place(store, "first", quantity=2)
    replay = place(store, "first")
    assert (replay.body, replay.order_id, replay.replayed) == (first.body, first.order_id, True)


@promise("bad days lose nothing")
def test_replays_and_conflicts_are_found_while_no_batch_commits(
    store: Store, engine: Engine
) -> None:
    first = first_of_many(store)
    with ThreadPoolExecutor() as pool, engine.held():
        hanging = pool.submit(place, store, "new")
        wait_until(lambda: store.writes_in_hand() == 1)
        asked_at = awake_s()
        replay = place(store, "first")
        assert (replay.body, replay.replayed) == (first.body, True)
        with pytest.raises(KeyReused):
            place(store, "first", quantity=2)
        assert awake_s() - asked_at < SHORT_S
        assert not hanging.done()
    assert not hanging.result().replayed
    assert engine.counts() == [LOOK_UPS + 2] * 4


def test_an_order_that_waits_longer_than_for_its_look_up_is_made_once(
    store: Store, engine: Engine
) -> None:
    first_of_many(store)
    with ThreadPoolExecutor() as pool, engine.held():
        hanging = [pool.submit(place, store, "new") for _ in range(3)]
        wait_until(lambda: store.writes_in_hand() == len(hanging))
        time.sleep(3 * PATIENCE_S)
    replies = [reply.result() for reply in hanging]
    assert sorted(reply.replayed for reply in replies) == [False, True, True]
    assert len({reply.body for reply in replies}) == 1
    assert engine.counts() == [LOOK_UPS + 2] * 4


def test_a_request_that_finds_its_own_order_waits_for_its_batch(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is committed, and it is no replay."""
    first_of_many(store)
    hand_out = ThreadDrain.hand_out

    def hand_out_late(drain: ThreadDrain, job: Job) -> None:
        time.sleep(3 * PATIENCE_S)
        hand_out(drain, job)

    monkeypatch.setattr(ThreadDrain, "hand_out", hand_out_late)
    assert not place(store, "new").replayed
    assert place(store, "new").replayed
    assert engine.counts() == [LOOK_UPS + 2] * 4
