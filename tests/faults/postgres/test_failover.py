"""The primary dies, and its standby takes over. The service continues without a restart."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
from tests.support.client_crowd import Crowd, retried
from tests.support.pgbouncer import pgbouncer
from tests.support.placing import place
from tests.support.postgres import SUPERUSER
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once_in
from tests.support.replication import Pair
from tests.support.running import serving
from tests.support.waiting import wait_until


@promise("one key, one effect")
@promise("a 201 is durable")
@promise("bad days lose nothing")
def test_a_failover_under_load_loses_and_doubles_nothing(
    pair: Pair, url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, DATABASE_URL=url) as server:
        first = server.order("first")
        master, workers = server.process, server.workers()
        crowd = Crowd(server.order, clients=16, prefix="load", count=100).start()
        wait_until(lambda: len(crowd.created) > 50, "orders before the failover")
        pair.primary.kill()
        before = len(crowd.sent)
        pair.promote()
        crowd.join(timeout_s=120)
        assert len(crowd.created) > before > 50
        made = crowd.created | {"first": first.body} | retried(server, crowd.refused)
        orders = assert_exactly_once_in(pair.on_standby("orders"), made)
        assert orders == len(made)
        assert (server.process, server.workers()) == (master, workers)


@promise("bad days lose nothing")
@promise("an error is not a verdict")
def test_while_there_is_no_primary_requests_are_refused_in_time(
    pair: Pair, url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, DATABASE_URL=url) as server:
        first = server.order("first")
        pair.primary.kill()
        crowd = Crowd(server.order, clients=8, prefix="vain").start().join()
        assert not crowd.created
        assert server.request("GET", "/healthz").status == 200
        assert server.request("GET", "/readyz").status == 503
        pair.promote()
        made = retried(server, ["first", *crowd.refused])
        assert made["first"] == first.body
        assert assert_exactly_once_in(pair.on_standby("orders"), made) == len(made)
        wait_until(lambda: server.request("GET", "/readyz").status == 200)


@promise("one key, one effect")
def test_orders_in_flight_when_the_primary_dies_are_made_once(
    pair: Pair, store: PostgresStore
) -> None:
    """The service sends each call again to the new primary, which may already have the orders."""
    place(store, "earlier")
    with ThreadPoolExecutor(16) as pool:
        deadline = time.monotonic() + 60
        placed = {
            f"key-{number}": pool.submit(place, store, f"key-{number}", deadline=deadline)
            for number in range(200)
        }
        wait_until(lambda: sum(each.done() for each in placed.values()) > 20)
        pair.primary.kill()
        pair.promote()
        replies = {key: each.result() for key, each in placed.items()}
    assert not any(reply.replayed for reply in replies.values())
    bodies = {key: reply.body.encode() for key, reply in replies.items()}
    assert assert_exactly_once_in(pair.on_standby("orders"), bodies) == len(replies) + 1


@promise("bad days lose nothing")
def test_the_service_leaves_a_primary_that_has_become_a_standby(
    pair: Pair, store: PostgresStore
) -> None:
    """PgBouncer keeps the connection of the service while the server behind it changes its role."""
    with pgbouncer(pair.primary) as bouncer:
        hosts = f"127.0.0.1:{bouncer.port},127.0.0.1:{pair.standby.port}"
        url = f"postgresql://{SUPERUSER}@{hosts}/orders?target_session_attrs=read-write"
        with (
            closing(PostgresStore(PostgresUrl(url))) as behind,
            closing(PostgresStore(PostgresUrl(url))) as also_behind,
        ):
            first = place(behind, "first")
            behind.write(lambda tx: tx.probe.touch())
            lease = behind.lease("relay")
            assert lease is not None
            for read in (behind.read_one, also_behind.read):
                assert read(lambda tx: tx.events.last_sequence()) == 1
            pair.primary.kill()
            pair.promote()
            pair.demote_old_primary()
            # From now on, it does not show what the new primary commits.
            pair.primary.query("SELECT pg_wal_replay_pause()")
            made = place(store, "made through another process").order_id
            for read in (behind.read_one, also_behind.read):
                assert read(lambda tx: tx.lookup.find_order(made), time.monotonic() + 60)
            assert behind.write(lambda tx: tx.leases.renew(lease), time.monotonic() + 60)
            assert place(behind, "first", deadline=time.monotonic() + 60).body == first.body
            assert not place(behind, "second").replayed
    place(store, "third")
    assert pair.standby.query("SELECT COUNT(*) FROM orders", database="orders") == [(4,)]
