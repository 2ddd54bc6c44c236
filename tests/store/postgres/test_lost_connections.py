"""After a connection to PostgreSQL is lost, the store finds out what the server has committed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from orderapi.errors import KeyReused, StoreUnavailable
from orderapi.settings import PostgresUrl
from orderapi.store import contract
from orderapi.store.postgres.store import PostgresStore
from tests.support.client_crowd import ANSWERED_WITHIN_S
from tests.support.engines import PostgresEngine
from tests.support.placing import place, placing
from tests.support.postgres import SUPERUSER
from tests.support.promises import promise
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.waiting import awake_s, wait_until

CALL = b"place_orders_v1"


@pytest.fixture
def proxy(engine: PostgresEngine) -> Iterator[TcpProxy]:
    with tcp_proxy("127.0.0.1", engine.server.port) as proxy:
        yield proxy


@pytest.fixture
def store(engine: PostgresEngine, proxy: TcpProxy) -> Iterator[PostgresStore]:
    """A store behind a proxy, whose connection for orders is open."""
    url = f"postgresql://{SUPERUSER}@127.0.0.1:{proxy.port}/{engine.database}"
    store = PostgresStore(PostgresUrl(url))
    store.prepare()
    place(store, "earlier")
    yield store
    store.close()


@promise("one key, one effect")
def test_a_batch_that_never_arrived_is_sent_again(
    store: PostgresStore, engine: PostgresEngine, proxy: TcpProxy
) -> None:
    proxy.lose_request(CALL)
    reply = place(store, "key")
    assert proxy.lost == 1
    assert not reply.replayed
    assert engine.counts() == [2, 2, 2, 2]


@promise("one key, one effect")
@promise("an error is not a verdict")
def test_a_batch_whose_answer_is_lost_is_sent_again_and_is_no_replay(
    store: PostgresStore, engine: PostgresEngine, proxy: TcpProxy
) -> None:
    proxy.lose_answer(CALL)
    reply = place(store, "key")
    assert proxy.lost == 1
    assert not reply.replayed
    assert engine.counts() == [2, 2, 2, 2]
    assert place(store, "key") == replace(reply, replayed=True)


def test_each_order_of_a_batch_whose_answer_is_lost_gets_its_own_outcome(
    store: PostgresStore, engine: PostgresEngine, proxy: TcpProxy
) -> None:
    with ThreadPoolExecutor(8) as pool:
        with engine.held():
            first = pool.submit(place, store, "first")
            wait_until(lambda: store.writes_in_hand() == 1)
            # The call of the first order waits for the lock. The next call has all other orders.
            wait_until(lambda: bool(engine.query(WAITING)))
            proxy.lose_answer(CALL)
            new = [pool.submit(place, store, key) for key in ("a", "b", "a")]
            replay = pool.submit(place, store, "earlier")
            conflict = pool.submit(place, store, "earlier", 7)
            wait_until(lambda: store.writes_in_hand() == 6)
        assert not first.result().replayed
        replies = [each.result() for each in new]
        assert proxy.lost == 1
        assert replies[0].order_id == replies[2].order_id != replies[1].order_id
        assert sorted([replies[0].replayed, replies[2].replayed]) == [False, True]
        assert not replies[1].replayed
        assert replay.result().replayed
        with pytest.raises(KeyReused):
            conflict.result()
    assert engine.counts() == [4, 4, 4, 4]


WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()"
)


@promise("bad days lose nothing")
@promise("an error is not a verdict")
def test_no_request_waits_longer_than_its_deadline_for_a_silent_network(
    store: PostgresStore, engine: PostgresEngine, proxy: TcpProxy
) -> None:
    """A firewall discards all packets, so no packet reports that the connection is dead."""
    assert store.read_one(lambda tx: tx.events.last_sequence()) == 1
    proxy.silent = True
    started = awake_s()
    with pytest.raises(StoreUnavailable):
        place(store, "key", deadline=time.monotonic() + 1.0)
    with pytest.raises(StoreUnavailable):
        store.read_one(lambda tx: tx.events.last_sequence(), time.monotonic() + 1.0)
    assert awake_s() - started <= ANSWERED_WITHIN_S
    proxy.silent = False
    place(store, "key")
    assert place(store, "key").replayed
    assert engine.counts() == [2, 2, 2, 2]


@promise("an error is not a verdict")
def test_a_rare_write_whose_commit_is_not_known_is_not_done_twice(
    store: PostgresStore, engine: PostgresEngine, proxy: TcpProxy
) -> None:
    runs = 0
    write = placing("key")

    def counted(tx: contract.WriteTx) -> object:
        nonlocal runs
        runs += 1
        return write(tx)

    store.write(lambda tx: tx.probe.touch())  # opens the connection for rare writes
    proxy.lose_answer(b"COMMIT\0")
    with pytest.raises(StoreUnavailable):
        store.write(counted)
    assert runs == proxy.lost == 1
    assert engine.counts() == [2, 2, 2, 2]
    assert store.write(write).replayed


def test_a_read_whose_answer_is_lost_is_read_again(store: PostgresStore, proxy: TcpProxy) -> None:
    assert store.read_one(lambda tx: tx.events.last_sequence()) == 1
    proxy.lose_answer(b"sequence")
    assert store.read_one(lambda tx: tx.events.last_sequence()) == 1
    assert proxy.lost == 1


def test_readers_survive_the_end_of_their_connections(
    store: PostgresStore, proxy: TcpProxy
) -> None:
    for _ in range(3):
        assert store.read(lambda tx: tx.events.last_sequence()) == 1
        proxy.cut()


def test_a_server_that_cannot_be_reached_for_a_moment_fails_no_order(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    with ThreadPoolExecutor(1) as pool, engine.away():
        placed = pool.submit(place, store, "key", deadline=time.monotonic() + 30)
        wait_until(lambda: store.writes_in_hand() == 1)
        time.sleep(0.5)
        assert not placed.done()
    assert not placed.result().replayed
