"""A synchronous standby is missing: nothing that a failover could lose is reported as success."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from orderapi.errors import KeyReused, StoreUnavailable
from orderapi.events.feed import Feed
from orderapi.records import EventPage, Reply
from orderapi.relay.deliver import Undelivered
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
from tests.support.client_crowd import ANSWERED_WITHIN_S
from tests.support.placing import place
from tests.support.promises import promise
from tests.support.relay_fakes import FakeReceiver, relay
from tests.support.replication import Pair
from tests.support.waiting import awake_s, wait_until

WAITS_S = 3.0
# Finds a COMMIT that is in the log of the primary and waits for that of the standby.
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = 'orders'"
ORDERS = "SELECT COUNT(*) FROM orders"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def in_time() -> float:
    """Give a deadline that is shorter than that of a request, so that the test is shorter."""
    return time.monotonic() + WAITS_S


def orders_on(pair: Pair) -> int:
    ((number,),) = pair.primary.query(ORDERS, database="orders")
    return int(number)


def placing_without_standby(
    pool: ThreadPoolExecutor, store: PostgresStore, pair: Pair, key: str
) -> tuple[Future[Reply], int]:
    """Place an order while the standby is paused. Gives the server process that waits for it."""
    placed = pool.submit(place, store, key, deadline=in_time())
    wait_until(lambda: bool(pair.primary.query(WAITING)), "a COMMIT that waits for the standby")
    return placed, pair.primary.query(WAITING)[0][0]


@promise("a 201 is durable")
@promise("bad days lose nothing")
def test_without_the_standby_no_order_is_acknowledged_and_reads_and_replays_go_on(
    pair: Pair, store: PostgresStore
) -> None:
    before = place(store, "before")
    pair.standby.pause()
    started = awake_s()
    with pytest.raises(StoreUnavailable):
        place(store, "key", deadline=in_time())
    assert awake_s() - started <= ANSWERED_WITHIN_S
    assert orders_on(pair) == 1
    replay = place(store, "before", deadline=in_time())
    assert (replay.body, replay.replayed) == (before.body, True)
    assert store.read(lambda tx: tx.lookup.find_order(before.order_id)) is not None
    pair.standby.resume()
    # The COMMIT of the failed request has succeeded now, so the retry is a replay.
    assert place(store, "key").replayed
    assert orders_on(pair) == 2


@promise("a 201 is durable")
@pytest.mark.parametrize("act", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_no_longer_waits_for_the_standby_is_no_success(
    pair: Pair, store: PostgresStore, pool: ThreadPoolExecutor, act: str
) -> None:
    """The server answers with a warning, and the order is visible only on the primary."""
    place(store, "before")
    pair.standby.pause()
    placed, pid = placing_without_standby(pool, store, pair, "key")
    assert pair.primary.query(f"SELECT {act}({pid})") == [(True,)]
    wait_until(lambda: orders_on(pair) == 2, "an order that is on the primary alone")
    with pytest.raises(StoreUnavailable):
        placed.result()
    with pytest.raises(StoreUnavailable):
        place(store, "key", deadline=in_time())
    pair.standby.resume()
    assert place(store, "key").replayed


@promise("a replay is the same answer")
@promise("a 201 is durable")
def test_another_process_replays_no_order_that_it_only_sees(
    pair: Pair, store: PostgresStore, other_store: PostgresStore, pool: ThreadPoolExecutor
) -> None:
    """It replays only orders that it knows to be on the standby. It shows all that it can read."""
    before = place(other_store, "before")
    # A paused standby would still receive what is in the buffers of the network.
    pair.standby.kill()
    placed, pid = placing_without_standby(pool, store, pair, "key")
    pair.primary.query(f"SELECT pg_cancel_backend({pid})")
    wait_until(lambda: orders_on(pair) == 2, "an order that is on the primary alone")
    with pytest.raises(StoreUnavailable):
        place(other_store, "key", deadline=in_time())
    saved = other_store.read(lambda tx: tx.keys.find_claim("public", "key"))
    assert saved is not None
    assert other_store.read(lambda tx: tx.lookup.find_order(saved.order_id)) is not None
    assert place(other_store, "before", deadline=in_time()).body == before.body
    with pytest.raises(StoreUnavailable):
        placed.result()
    # The order that was only on the primary is lost with it. No client has got a success for it.
    pair.primary.kill()
    pair.standby.start()
    pair.promote()
    reply = place(other_store, "key")
    assert not reply.replayed
    assert reply.order_id != saved.order_id
    assert place(store, "before").body == before.body


@promise("a 201 is durable")
def test_no_reader_of_events_gets_one_that_a_failover_loses(
    pair: Pair, store: PostgresStore, other_store: PostgresStore, pool: ThreadPoolExecutor
) -> None:
    """After the failover, another event gets its number, and each reader must get that event."""
    place(store, "before")
    feed = Feed(other_store)
    receiver = FakeReceiver()
    deliverer = relay(other_store, receiver)
    assert deliverer.run_once() == 1
    assert events_of(feed, after=0) == [1]
    pair.standby.kill()
    placed, pid = placing_without_standby(pool, store, pair, "key")
    pair.primary.query(f"SELECT pg_cancel_backend({pid})")
    wait_until(lambda: orders_on(pair) == 2, "an order that is on the primary alone")
    assert events_of(feed, after=0) == [1]
    assert events_of(feed, after=1) == []
    with pytest.raises(Undelivered):
        deliverer.run_once()
    with pytest.raises(StoreUnavailable):
        placed.result()
    pair.primary.kill()
    pair.standby.start()
    pair.promote()
    place(other_store, "other")
    assert events_of(feed, after=1) == [2]
    assert receiver.sequences() == [1]


def events_of(feed: Feed, after: int) -> list[int]:
    page = json.loads(feed.read(EventPage("public", after, 10), 0))
    return [int(event["sequence"]) for event in page["events"]]


def test_a_process_that_has_written_nothing_replays_nothing_without_the_standby(
    pair: Pair, store: PostgresStore, other_store: PostgresStore
) -> None:
    place(store, "before")
    pair.standby.pause()
    with pytest.raises(StoreUnavailable):
        place(other_store, "before", deadline=in_time())
    assert place(store, "before", deadline=in_time()).replayed


@promise("a conflict touches nothing")
def test_a_conflict_is_found_without_the_standby(pair: Pair, store: PostgresStore) -> None:
    place(store, "before")
    pair.standby.pause()
    with pytest.raises(KeyReused):
        place(store, "before", 7, deadline=in_time())


@promise("a 201 is durable")
def test_a_rare_write_without_the_standby_is_no_success(
    pair: Pair, store: PostgresStore, pool: ThreadPoolExecutor
) -> None:
    store.write(lambda tx: tx.probe.touch())
    pair.standby.pause()
    written = pool.submit(store.write, lambda tx: tx.probe.touch(), in_time())
    wait_until(lambda: bool(pair.primary.query(WAITING)), "a COMMIT that waits for the standby")
    pair.primary.query(f"SELECT pg_cancel_backend(pid) FROM ({WAITING}) AS waiting")
    with pytest.raises(StoreUnavailable):
        written.result()


def test_the_settings_of_a_role_do_not_keep_a_commit_from_waiting(
    pair: Pair, store: PostgresStore, url: str
) -> None:
    """With `local`, a COMMIT would wait only for the disk of the primary."""
    place(store, "before")
    pair.primary.query("ALTER ROLE postgres SET synchronous_commit = 'local'")
    with closing(PostgresStore(PostgresUrl(url))) as store_with_role:
        place(store_with_role, "also before")
        pair.standby.pause()
        with pytest.raises(StoreUnavailable):
            place(store_with_role, "key", deadline=in_time())
