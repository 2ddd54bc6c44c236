"""What `contract.Store` promises, on each engine."""

import _thread
import queue
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from orderapi.errors import KeyReused, OrderNotFound
from orderapi.orders import LEDGER_ENTRY_TYPE, ORDER_STATUS, find_reply, place_order
from orderapi.records import PUBLIC_CLIENT, OrderPage, Reply
from orderapi.store.contract import ReadTx, Store, WriteTx
from tests.support.engines import Engine
from tests.support.placing import place, request_for
from tests.support.promises import promise
from tests.support.waiting import awake_s

EVERYTHING = OrderPage(PUBLIC_CLIENT, None, None, None, 100)


def on_bare_thread(act: Callable[[], Any]) -> Any:
    """Run `act` on a thread that neither `threading` nor gevent knows."""
    outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((act(), None))
        except BaseException as error:
            outcome.put((None, error))

    _thread.start_new_thread(run, ())
    result, error = outcome.get(timeout=10)
    if error is not None:
        raise error
    return result


class BareThreadStore:
    """A store that runs every `fn` on a bare native thread, in the middle of its transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def read(self, fn: Callable[[ReadTx], Any], deadline: float | None = None) -> Any:
        return self.store.read(lambda tx: on_bare_thread(lambda: fn(tx)), deadline)

    def write(self, fn: Callable[[WriteTx], Any], deadline: float | None = None) -> Any:
        return self.store.write(lambda tx: on_bare_thread(lambda: fn(tx)), deadline)


def test_a_write_gives_what_fn_gives(store: Store) -> None:
    def touch(tx: WriteTx) -> str:
        tx.probe.touch()
        return "given"

    assert store.write(touch) == "given"


def test_a_read_gives_what_fn_gives(store: Store) -> None:
    assert store.read(lambda tx: tx.orders.list_orders(EVERYTHING)) == []


def test_a_read_of_one_statement_gives_what_fn_gives(store: Store) -> None:
    place(store, "key")
    claim, _ = request_for("key")
    conflicting, _ = request_for("key", quantity=2)
    for _ in range(2):
        reply = store.read_one(lambda tx: find_reply(tx, claim))
        assert reply is not None
        assert reply.replayed
        with pytest.raises(KeyReused):
            store.read_one(lambda tx: find_reply(tx, conflicting))


def test_a_read_of_one_statement_refuses_a_second_one(store: Store) -> None:
    """The second statement would see another snapshot than the first one."""
    with pytest.raises(RuntimeError, match="ran several"):
        store.read_one(lambda tx: (tx.events.last_sequence(), tx.events.last_sequence()))
    assert store.read_one(lambda tx: tx.events.last_sequence()) == 0


def test_every_fn_of_the_service_runs_on_a_bare_native_thread(store: Store) -> None:
    bare = BareThreadStore(store)
    claim, new_order = request_for("bare")
    other, _ = request_for("bare", quantity=2)

    assert bare.read(lambda tx: find_reply(tx, claim)) is None
    made = bare.write(lambda tx: place_order(tx, claim, new_order))
    assert bare.read(lambda tx: find_reply(tx, claim)).body == made.body
    assert bare.write(lambda tx: place_order(tx, claim, new_order)).replayed
    with pytest.raises(KeyReused):
        bare.write(lambda tx: place_order(tx, other, new_order))
    with pytest.raises(KeyReused):
        bare.read(lambda tx: find_reply(tx, other))
    order = bare.read(lambda tx: tx.orders.find_order(PUBLIC_CLIENT, made.order_id))
    assert order is not None
    assert bare.read(lambda tx: tx.orders.list_orders(EVERYTHING)) == [order]
    bare.write(lambda tx: tx.probe.touch())


@promise("a 201 is durable")
def test_a_write_returns_only_after_its_commit(store: Store, engine: Engine) -> None:
    for number in range(20):
        reply = place(store, f"committed-{number}")
        assert engine.query(f"SELECT 1 FROM orders WHERE order_id = '{reply.order_id}'")


def test_no_reader_sees_what_fn_wrote_before_the_commit(store: Store, engine: Engine) -> None:
    claim, new_order = request_for("unseen")
    seen: list[list[int]] = []

    def read_before_the_commit(tx: WriteTx) -> None:
        place_order(tx, claim, new_order)
        seen.append(engine.counts())

    store.write(read_before_the_commit)
    assert seen == [[0, 0, 0, 0]]
    assert engine.counts() == [1, 1, 1, 1]


@pytest.mark.parametrize("error", [OrderNotFound("ours"), ValueError("a bug"), SystemExit(3)])
def test_an_exception_in_fn_undoes_all_that_fn_wrote(
    store: Store, engine: Engine, error: BaseException
) -> None:
    claim, new_order = request_for("undone")

    def fail_at_the_end(tx: WriteTx) -> None:
        place_order(tx, claim, new_order)
        raise error

    with pytest.raises(type(error)) as caught:
        store.write(fail_at_the_end)
    assert caught.value is error
    assert engine.counts() == [0, 0, 0, 0]
    assert not place(store, "undone").replayed


def test_a_broken_constraint_undoes_all_that_fn_wrote(store: Store, engine: Engine) -> None:
    claim, new_order = request_for("constraint")

    def enter_twice(tx: WriteTx) -> None:
        order = tx.orders.insert_order(new_order, ORDER_STATUS)
        tx.orders.insert_ledger_entry(order, LEDGER_ENTRY_TYPE)
        tx.keys.save_claim(claim, reply_of(order.order_id))
        tx.orders.insert_ledger_entry(order, LEDGER_ENTRY_TYPE)

    with pytest.raises(engine.constraint_error):
        store.write(enter_twice)
    assert engine.counts() == [0, 0, 0, 0]
    assert not place(store, "constraint").replayed


def test_after_a_failed_write_the_store_still_works(store: Store, engine: Engine) -> None:
    for number in range(30):
        with pytest.raises(ZeroDivisionError):
            store.write(touch_and_fail)
        place(store, f"after-{number}")
    assert engine.counts() == [30, 30, 30, 30]


def test_a_read_sees_one_snapshot(store: Store) -> None:
    place(store, "before")

    def count_around_a_commit(tx: ReadTx) -> tuple[int, int]:
        before = len(tx.orders.list_orders(EVERYTHING))
        place(store, "meanwhile")
        return before, len(tx.orders.list_orders(EVERYTHING))

    assert store.read(count_around_a_commit) == (1, 1)
    assert len(store.read(lambda tx: tx.orders.list_orders(EVERYTHING))) == 2


@promise("one key, one effect")
def test_one_key_raced_by_many_threads_makes_one_order(store: Store, engine: Engine) -> None:
    start = threading.Barrier(32)
    replies: list[Any] = []
    conflicts: list[KeyReused] = []

    def race(quantity: int) -> None:
        start.wait()
        try:
            replies.append(place(store, "raced", quantity))
        except KeyReused as error:
            conflicts.append(error)

    threads = [threading.Thread(target=race, args=(1 + n % 2,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == len(conflicts) == 16
    assert len({reply.body for reply in replies}) == 1
    assert sum(not reply.replayed for reply in replies) == 1
    assert engine.counts() == [1, 1, 1, 1]


def test_seconds_since_commit_counts_commits_only(store: Store) -> None:
    assert store.seconds_since_commit() == float("inf")
    with pytest.raises(ZeroDivisionError):
        store.write(touch_and_fail)
    assert store.seconds_since_commit() == float("inf")
    started = time.monotonic()
    place(store, "committed")
    assert 0 <= store.seconds_since_commit() <= time.monotonic() - started


def touch_and_fail(tx: WriteTx) -> None:
    tx.probe.touch()
    raise ZeroDivisionError


def reply_of(order_id: str) -> Reply:
    return Reply(201, "{}", order_id)


def test_the_ids_of_events_grow_with_time_as_those_of_orders_do(
    store: Store, engine: Engine
) -> None:
    """With random ids, each event would change another page of the index of ids."""
    for number in range(20):
        place(store, f"key-{number}")
    rows = engine.query("SELECT order_id, event_id FROM events ORDER BY sequence")
    assert all(UUID(event_id).version == 7 and event_id > order_id for order_id, event_id in rows)
    assert len({event_id for _, event_id in rows}) == 20


def test_writes_in_hand_counts_the_writes_that_wait_for_their_commit(
    store: Store, engine: Engine
) -> None:
    assert store.writes_in_hand() == 0
    place(store, "before")
    with engine.held():
        writer = threading.Thread(target=place, args=(store, "waiting"))
        writer.start()
        give_up_at = awake_s() + 5
        while store.writes_in_hand() != 1:
            assert awake_s() < give_up_at
            time.sleep(0.005)
    writer.join(10)
    assert store.writes_in_hand() == 0
