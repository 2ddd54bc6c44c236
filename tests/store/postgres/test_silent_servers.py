"""The first server of the URL is silent, like a machine that hangs. The next one is used."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
from tests.support.engines import PostgresEngine
from tests.support.placing import place
from tests.support.postgres import SUPERUSER
from tests.support.promises import promise
from tests.support.waiting import wait_until

# The driver does not wait for a server for a shorter time than this.
CONNECT_S = 2
# The deadline of a request here. It is shorter than the time-out of the silent server.
SHORT_S = 1.0
OTHER_SESSIONS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
Act = Callable[[PostgresStore], object]


def place_soon(store: PostgresStore) -> object:
    return place(store, "key", deadline=time.monotonic() + SHORT_S)


def write_soon(store: PostgresStore) -> object:
    return store.write(lambda tx: tx.probe.touch(), time.monotonic() + SHORT_S)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port on which the system accepts connections, and no process answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        yield silent


@pytest.fixture
def store(engine: PostgresEngine, silent: socket.socket) -> Iterator[PostgresStore]:
    """A store whose URL names the silent server before the other one. It has no connection yet."""
    with closing(PostgresStore(engine.url)) as near:
        near.prepare()
    hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{engine.server.port}"
    url = f"postgresql://{SUPERUSER}@{hosts}/{engine.database}?connect_timeout={CONNECT_S}"
    with closing(PostgresStore(PostgresUrl(url))) as store:
        yield store


def succeeds(act: Act, store: PostgresStore) -> bool:
    with suppress(StoreUnavailable):
        act(store)
        return True
    return False


def connections_to(silent: socket.socket) -> int:
    """Count the connections since the last call."""
    number = 0
    with suppress(BlockingIOError):
        while True:
            silent.accept()[0].close()
            number += 1
    return number


@promise("bad days lose nothing")
@pytest.mark.parametrize("act", [place_soon, write_soon])
def test_a_connection_that_was_opened_too_late_for_one_request_serves_the_next_one(
    act: Act, store: PostgresStore
) -> None:
    with pytest.raises(StoreUnavailable):
        act(store)
    wait_until(lambda: succeeds(act, store), "a request that succeeds")


def test_the_server_that_answered_last_is_tried_first(
    store: PostgresStore, engine: PostgresEngine, silent: socket.socket
) -> None:
    wait_until(lambda: succeeds(write_soon, store), "a write that succeeds")
    assert connections_to(silent) > 0
    engine.query(OTHER_SESSIONS)
    # The other connection of the store has not been opened yet. It learns from this one.
    wait_until(lambda: succeeds(place_soon, store), "an order that succeeds")
    wait_until(lambda: succeeds(write_soon, store), "a write that succeeds")
    assert connections_to(silent) == 0
