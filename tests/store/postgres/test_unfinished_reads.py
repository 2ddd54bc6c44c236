"""Reads that the server cannot finish in time leave no session there."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from orderapi.errors import StoreUnavailable
from orderapi.store.contract import ReadTx
from orderapi.store.postgres.readers import CONNECTIONS_MAX, READ_MIN_S
from orderapi.store.postgres.store import PostgresStore
from tests.support.engines import PostgresEngine
from tests.support.placing import place
from tests.support.promises import promise
from tests.support.waiting import wait_until

SESSIONS = (
    "SELECT COUNT(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'orderapi'"
)
# A process has one connection for orders, and one for other writes.
WRITERS = 2
Read = Callable[[ReadTx], object]


@promise("bad days lose nothing")
@pytest.mark.parametrize("name", ["read", "read_one"])
def test_reads_that_wait_for_a_held_lock_do_not_use_up_the_sessions_of_the_server(
    store: PostgresStore, engine: PostgresEngine, name: str
) -> None:
    """A session that waits for a lock does not notice that its client has disconnected."""
    made = place(store, "key").order_id
    read: Callable[[Read, float], object] = getattr(store, name)

    def read_unsuccessfully(_: int) -> None:
        with pytest.raises(StoreUnavailable):
            read(lambda tx: tx.lookup.find_order(made), time.monotonic())

    def has_few_sessions() -> bool:
        ((number,),) = engine.query(SESSIONS)
        return int(number) <= CONNECTIONS_MAX + WRITERS

    with ThreadPoolExecutor(CONNECTIONS_MAX) as pool:
        with psycopg.connect(engine.server.url(engine.database)) as operator:
            operator.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            list(pool.map(read_unsuccessfully, range(2 * CONNECTIONS_MAX)))
            # A session that the server did not end would wait for as long as the lock is held.
            wait_until(has_few_sessions, "the end of the sessions of these reads")
        assert read(lambda tx: tx.lookup.find_order(made), time.monotonic() + READ_MIN_S)
