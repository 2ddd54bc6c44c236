"""A connection that is lost, or a server that is silent: nobody knows whether it has committed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.settings import PostgresUrl
from orderapi.store.contract import WriteTx
from orderapi.store.postgres.store import PostgresStore
from tests.support.engines import PostgresEngine
from tests.support.placing import place, placing
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.promises import promise
from tests.support.running import REPOSITORY
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.waiting import awake_s, wait_until

# How long a request waits here in vain.
SHORT_S = 2.0


@dataclass
class Far:
    """A store that reaches its server through a proxy."""

    store: PostgresStore
    proxy: TcpProxy


@pytest.fixture
def far(engine: PostgresEngine) -> Iterator[Far]:
    with tcp_proxy("127.0.0.1", engine.server.port) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{engine.database}"
        with closing(PostgresStore(PostgresUrl(url))) as store:
            store.prepare()
            # The connection for orders is open before anything is lost.
            place(store, "first")
            yield Far(store, proxy)


@promise("an error is not a verdict")
def test_an_order_whose_answer_was_lost_is_found_and_is_no_replay(
    far: Far, engine: PostgresEngine
) -> None:
    far.proxy.lose_answer(to=b"place_orders_v1")
    assert not place(far.store, "key").replayed
    assert far.proxy.lost == 1
    assert engine.counts() == [2, 2, 2, 2]
    assert place(far.store, "key").replayed


@promise("one key, one effect")
def test_an_order_whose_request_was_lost_is_sent_again(far: Far, engine: PostgresEngine) -> None:
    far.proxy.lose_request(with_bytes=b"place_orders_v1")
    assert not place(far.store, "key").replayed
    assert far.proxy.lost == 1
    assert engine.counts() == [2, 2, 2, 2]


@promise("an error is not a verdict")
def test_a_write_whose_commit_was_lost_is_not_run_again(far: Far, engine: PostgresEngine) -> None:
    ran = []
    write = placing("key")

    def counted(tx: WriteTx) -> object:
        ran.append(1)
        return write(tx)

    far.store.write(lambda tx: tx.probe.touch())  # the connection for other writes is open
    far.proxy.lose_answer(to=b"COMMIT\0")
    with pytest.raises(StoreUnavailable):
        far.store.write(counted)
    assert len(ran) == far.proxy.lost == 1
    assert engine.counts() == [2, 2, 2, 2]
    assert far.store.write(write).replayed


def test_a_read_whose_answer_was_lost_is_read_again(far: Far) -> None:
    assert far.store.read_one(lambda tx: tx.events.last_sequence()) == 1
    far.proxy.lose_answer(to=b"sequence")
    assert far.store.read_one(lambda tx: tx.events.last_sequence()) == 1
    assert far.proxy.lost == 1


@promise("bad days lose nothing")
def test_a_network_that_is_silent_fails_every_request_in_time(far: Far) -> None:
    far.store.read_one(lambda tx: tx.events.last_sequence())
    far.proxy.silent = True
    asked_at = awake_s()
    with pytest.raises(StoreUnavailable):
        place(far.store, "key", deadline=time.monotonic() + SHORT_S)
    with pytest.raises(StoreUnavailable):
        far.store.read_one(lambda tx: tx.events.last_sequence(), time.monotonic() + SHORT_S)
    assert awake_s() - asked_at < 3 * SHORT_S
    far.proxy.silent = False
    wait_until(lambda: bool(place_or_none(far.store, "key")))


def place_or_none(store: PostgresStore, key: str) -> object:
    try:
        return place(store, key)
    except StoreUnavailable:
        return None


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server(log_statement="all") as server:
        yield server


@promise("a 201 is durable")
def test_a_server_that_was_killed_and_started_again_has_every_acknowledged_order(
    server: PostgresServer,
) -> None:
    with closing(PostgresStore(PostgresUrl(server.create_database("orders")))) as store:
        store.prepare()
        first = place(store, "first")
        server.kill()
        with pytest.raises(StoreUnavailable):
            place(store, "second", deadline=time.monotonic() + SHORT_S)
        server.start()
        # The process itself goes on: nothing is started again.
        assert place(store, "first").body == first.body
        wait_until(lambda: bool(place_or_none(store, "second")))


@promise("an error is not a verdict")
def test_a_batch_that_a_silent_server_has_is_never_cancelled(server: PostgresServer) -> None:
    """The server goes on where it was: the order of a request that got 503 exists, once."""
    with closing(PostgresStore(PostgresUrl(server.create_database("orders")))) as store:
        store.prepare()
        first = place(store, "first")
        server.pause()
        asked_at = awake_s()
        for key in ("second", "third"):
            with pytest.raises(StoreUnavailable):
                place(store, key, deadline=time.monotonic() + SHORT_S)
        assert awake_s() - asked_at < 4 * SHORT_S
        server.resume()
        wait_until(lambda: bool(place_or_none(store, "second")))
        assert place(store, "first").body == first.body
        assert not place(store, "fourth").replayed
    counts = server.query(
        "SELECT COUNT(*), COUNT(DISTINCT idempotency_key) FROM idempotency_keys", database="orders"
    )
    assert counts[0][0] == counts[0][1] >= 3
    server.stop()
    assert "canceling statement" not in server.log_path.read_text()


IMPORTED_TOO_EARLY = """
import psycopg
from gevent import monkey
monkey.patch_all()
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
PostgresStore(PostgresUrl("postgresql://127.0.0.1:1/orders")).prepare()
"""


def test_a_driver_that_would_stop_the_event_loop_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_TOO_EARLY],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "psycopg was imported before gevent" in done.stderr


WAIT_AND_COUNT = """
from gevent import monkey
monkey.patch_all()
import gevent, sys, time
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.servers import connect
ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)
gevent.spawn(tick)
connection = connect(PostgresUrl(sys.argv[1]), "any")
connection.deadline = time.monotonic() + 30
connection.execute("SELECT pg_sleep(1)")
print(len(ticks))
"""


def test_the_event_loop_runs_while_a_query_is_waited_for(engine: PostgresEngine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAIT_AND_COUNT, engine.url_text],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 5
