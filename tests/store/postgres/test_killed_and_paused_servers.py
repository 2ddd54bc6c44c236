"""After a server was killed or silent, the store finds out what the server has committed."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
from tests.support.placing import place
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.promises import promise
from tests.support.waiting import awake_s, wait_until

# The deadline of a request that cannot succeed.
SHORT_S = 2.0


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
        # The process of the service continues without a restart.
        assert place(store, "first").body == first.body
        wait_until(lambda: bool(place_or_none(store, "second")))


@promise("an error is not a verdict")
def test_a_batch_that_a_silent_server_has_is_never_cancelled(server: PostgresServer) -> None:
    """The server continues later, and the order of the request that got 503 exists once."""
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


def place_or_none(store: PostgresStore, key: str) -> object:
    try:
        return place(store, key)
    except StoreUnavailable:
        return None
