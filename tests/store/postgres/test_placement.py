"""`place_orders_v1`: the rows of a batch of orders, and the order of its ids and numbers."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.errors import KeyReused
from orderapi.orders import REPLY_STATUS, event_payload, find_reply
from orderapi.records import PUBLIC_CLIENT, Order, Reply
from orderapi.store.postgres.placements import placement_of
from orderapi.store.postgres.store import PostgresStore
from tests.support.engines import PostgresEngine
from tests.support.placing import place, request_for
from tests.support.postgres_faults import waiting_for_locks
from tests.support.promises import promise
from tests.support.waiting import wait_until

NO_ORDERS = "(1000, {0}, {0}, {0}, {0}, {0}, '{{}}', {0}, {0}, {0}, {0})".format("'{}'::text[]")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def in_one_batch(
    store: PostgresStore, engine: PostgresEngine, pool: ThreadPoolExecutor, keys: list[str]
) -> list[Future[Reply]]:
    """Place orders that wait together while an earlier one waits for the lock of the writers."""
    with engine.held():
        first = pool.submit(place, store, "the order before the batch")
        wait_until(lambda: waiting_for_locks(engine) == 1)
        rest = [pool.submit(place, store, key) for key in keys]
        wait_until(lambda: store.writes_in_hand() == len(keys) + 1)
    first.result()
    return rest


@promise("duplicates in flight wait")
def test_duplicates_in_one_batch_are_one_order_and_replays(
    store: PostgresStore, engine: PostgresEngine, pool: ThreadPoolExecutor
) -> None:
    keys = ["a", "b", "a", "c", "a", "b"]
    replies = [reply.result() for reply in in_one_batch(store, engine, pool, keys)]
    assert engine.counts() == [4, 4, 4, 4]
    for key in "abc":
        of_key = [reply for reply, its in zip(replies, keys, strict=True) if its == key]
        assert len({(reply.body, reply.order_id) for reply in of_key}) == 1
        assert [reply.replayed for reply in of_key].count(False) == 1


@promise("a conflict touches nothing")
def test_in_one_batch_another_payload_is_a_conflict(
    store: PostgresStore, engine: PostgresEngine, pool: ThreadPoolExecutor
) -> None:
    place(store, "key", quantity=7)
    (conflict, new) = in_one_batch(store, engine, pool, ["key", "other"])
    with pytest.raises(KeyReused):
        conflict.result()
    assert not new.result().replayed
    assert engine.counts() == [3, 3, 3, 3]


def test_a_batch_is_numbered_in_the_order_of_its_ids(
    store: PostgresStore, engine: PostgresEngine, pool: ThreadPoolExecutor
) -> None:
    for reply in in_one_batch(store, engine, pool, [f"key-{number}" for number in range(12)]):
        reply.result()
    rows = engine.query("SELECT sequence, order_id, event_id FROM events ORDER BY sequence")
    assert [sequence for sequence, _, _ in rows] == [*range(1, 14)]
    ids = [each for _, order_id, event_id in rows for each in (order_id, event_id)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    "last", ["ffffffff-fff0-7ffe-bfff-ffffffffffff", "ffffffff-fff0-7000-8000-000000000000"]
)
def test_ids_grow_although_the_clock_was_set_back(
    store: PostgresStore, engine: PostgresEngine, last: str
) -> None:
    """The greatest id is of the year 10889, and the ranks of its millisecond may be used up."""
    engine.execute(
        f"INSERT INTO orders VALUES ('{last}', 'public', 'cust1', 'item1', 1, 'created', '')"
    )
    ids = [place(store, f"key-{number}").order_id for number in range(3)]
    assert [last, *ids] == sorted({last, *ids})


def test_the_time_of_an_id_is_that_of_the_row(store: PostgresStore, engine: PostgresEngine) -> None:
    order_id = place(store, "key").order_id
    ((difference_ms,),) = engine.query(
        "SELECT extract(epoch FROM created_at::timestamptz) * 1000"
        f" - ('x' || translate(left('{order_id}', 13), '-', ''))::bit(48)::bigint FROM orders"
    )
    assert difference_ms == 0


texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=128)


@promise("a replay is the same answer")
def test_the_saved_answer_has_the_bytes_that_this_program_writes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    engine = PostgresEngine(tmp_path_factory.mktemp("bytes"))
    with closing(PostgresStore(engine.url)) as store:
        store.prepare()
        numbers = iter(range(1_000_000))

        @given(customer_id=texts, item_id=texts, quantity=st.integers(1, 1_000_000))
        def check(customer_id: str, item_id: str, quantity: int) -> None:
            claim, new = request_for(f"key-{next(numbers)}", quantity, customer_id)
            new = replace(new, item_id=item_id)
            reply = store.place(claim, new)
            order = Order(
                reply.order_id, PUBLIC_CLIENT, customer_id, item_id, quantity, "created", ""
            )
            payload = event_payload(order)
            assert reply == Reply(REPLY_STATUS, payload + "\n", reply.order_id)
            saved = store.read(lambda tx: find_reply(tx, claim))
            assert saved == replace(reply, replayed=True)
            ((stored,),) = engine.query("SELECT payload FROM events ORDER BY sequence DESC LIMIT 1")
            assert stored == payload
            assert json.loads(payload)["customer_id"] == customer_id

        check()
    engine.remove()


def test_an_order_is_recognised_by_the_random_end_of_its_id(store: PostgresStore) -> None:
    """The answer to a batch may be lost. The batch is then sent again, and its orders are new."""
    placement = placement_of(*request_for("key"), None)
    deadline = time.monotonic() + 60
    first = store._placements.place(placement, deadline)
    again = store._placements.place(placement, deadline)
    other = store._placements.place(placement_of(*request_for("key"), None), deadline)
    assert (first.replayed, again.replayed, other.replayed) == (False, False, True)
    assert first == again == replace(other, replayed=False)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_another_isolation_level_is_refused(engine: PostgresEngine, level: str) -> None:
    with psycopg.connect(engine.url_text) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        with pytest.raises(psycopg.errors.RaiseException, match="READ COMMITTED"):
            connection.execute(f"SELECT * FROM place_orders_v1{NO_ORDERS}".encode())


@promise("a 201 is durable")
@pytest.mark.usefixtures("store")
def test_the_settings_of_a_role_do_not_change_the_settings_of_a_commit(
    engine: PostgresEngine,
) -> None:
    with psycopg.connect(engine.url_text) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET client_min_messages = error")
        connection.commit()
        connection.execute(f"SELECT * FROM place_orders_v1{NO_ORDERS}".encode())
        for setting, expected in {
            "synchronous_commit": "on",
            "client_min_messages": "notice",
            "lock_timeout": "1s",
        }.items():
            assert connection.execute(f"SHOW {setting}".encode()).fetchone() == (expected,)


def test_no_table_or_function_of_another_schema_is_used(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    engine.execute("CREATE SCHEMA other")
    engine.execute("CREATE TABLE other.write_lock (lock_id integer)")
    engine.execute(f"ALTER DATABASE {engine.database} SET search_path = public, other, pg_temp")
    place(store, "key")
    with psycopg.connect(engine.url_text) as connection:
        connection.execute("SET search_path = other, public")
        connection.execute(f"SELECT * FROM place_orders_v1{NO_ORDERS}".encode())
    assert engine.counts() == [1, 1, 1, 1]
