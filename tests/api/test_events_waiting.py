"""`GET /events?wait=`: a waiting reader is answered in time, and it holds no snapshot."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from orderapi.errors import StoreUnavailable
from orderapi.events.feed import Feed, _EncodedPage, _SharedPage
from orderapi.records import PUBLIC_CLIENT, EventPage
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from orderapi.store.sqlite.store import SqliteStore
from tests.support.engines import Engine
from tests.support.http_messages import ask, order
from tests.support.placing import place, place_for
from tests.support.waiting import wait_until

# This is longer than any of these tests may take. A reader that waits for so long has failed.
LONG_S = 30


def page(body: bytes) -> Any:
    return json.loads(body)


def waiting(feed: Feed, after: int, pool: ThreadPoolExecutor, count: int = 1) -> Future[bytes]:
    """Start a reader that waits for events after a number. Returns when `count` readers wait."""
    started = pool.submit(feed.read, EventPage(PUBLIC_CLIENT, after, 100), LONG_S)
    wait_until(lambda: len(feed._waiting) >= count)
    return started


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(10) as pool:
        yield pool


def test_events_that_exist_are_returned_without_a_wait(client: FlaskClient) -> None:
    order(client, "key-1")
    assert ask(client, f"/events?wait={LONG_S}").json["next"] == 1


def test_waiting_ends_with_its_time(client: FlaskClient) -> None:
    order(client, "key-1")
    began_at = time.monotonic()
    assert ask(client, "/events?after=1&wait=1").json == {"events": [], "next": 1}
    assert time.monotonic() - began_at >= 1


def test_a_waiting_reader_is_answered_by_the_next_order(
    store: Store, pool: ThreadPoolExecutor
) -> None:
    feed = Feed(store)
    for number in range(3):
        answer = waiting(feed, number, pool)
        place(store, f"key-{number}")
        found = page(answer.result(10))
        assert [event["sequence"] for event in found["events"]] == [f"{number + 1:019}"]
        assert found["next"] == number + 1


def test_all_waiting_readers_are_answered(store: Store, pool: ThreadPoolExecutor) -> None:
    feed = Feed(store)
    place(store, "key-0")
    place(store, "key-1")
    at_the_end = [waiting(feed, 2, pool, count) for count in range(1, 9)]
    place(store, "key-2")
    assert {page(answer.result(10))["next"] for answer in at_the_end} == {3}


def test_a_waiting_reader_is_not_answered_by_an_event_of_another_client(
    store: Store, pool: ThreadPoolExecutor
) -> None:
    feed = Feed(store)
    answer = waiting(feed, 0, pool)
    place_for(store, "another")
    store.write(lambda tx: tx.probe.touch())
    with pytest.raises(TimeoutError):
        answer.result(0.2)
    place(store, "key-1")
    assert [event["sequence"] for event in page(answer.result(10))["events"]] == [f"{2:019}"]


def test_another_store_s_commit_is_seen(
    store: Store, engine: Engine, pool: ThreadPoolExecutor
) -> None:
    """The commit of another process is seen in the same way."""
    feed = Feed(store)
    answer = waiting(feed, 0, pool)
    other = open_store(engine.url)
    place(other, "key-1")
    other.close()
    assert page(answer.result(10))["next"] == 1


def test_a_waiting_reader_holds_no_snapshot(
    store: SqliteStore, database: Path, pool: ThreadPoolExecutor
) -> None:
    """A checkpoint that needs the whole WAL succeeds while a reader waits."""
    feed = Feed(store)
    answer = waiting(feed, 0, pool)
    store.write(lambda tx: tx.probe.touch())
    other = SqliteStore(database)
    connection = other._database.open_writer()
    wait_until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    connection.close()
    other.close()
    place(store, "key-1")
    assert page(answer.result(10))["next"] == 1


def test_the_store_is_not_polled_while_no_reader_waits(
    store: Store, pool: ThreadPoolExecutor
) -> None:
    feed = Feed(store)
    answer = waiting(feed, 0, pool)
    place(store, "key-1")
    answer.result(10)
    looked = threading.Event()
    feed._last_sequence = looked.set  # type: ignore[method-assign]
    assert not looked.wait(0.2)


def test_a_process_that_stops_answers_all_waiting_readers(
    store: Store, pool: ThreadPoolExecutor
) -> None:
    feed = Feed(store)
    stopping = threading.Event()
    feed.stop_when(stopping.is_set)
    answers = [waiting(feed, 0, pool, count) for count in range(1, 5)]
    stopping.set()
    for answer in answers:
        assert page(answer.result(10)) == {"events": [], "next": 0}
    # This reader is answered after a delay. Otherwise it would come back at once.
    later = pool.submit(feed.read, EventPage(PUBLIC_CLIENT, 0, 100), LONG_S)
    assert page(later.result(10)) == {"events": [], "next": 0}


def test_waiting_readers_fail_when_the_store_becomes_unavailable(
    store: Store, pool: ThreadPoolExecutor, engine: Engine
) -> None:
    feed = Feed(store)
    answer = waiting(feed, 0, pool)
    with engine.away(), pytest.raises(StoreUnavailable):
        answer.result(LONG_S)
    again = waiting(feed, 0, pool)
    place(store, "key-1")
    assert page(again.result(10))["next"] == 1


def test_readers_of_the_same_page_wait_for_one_read_of_the_store(pool: ThreadPoolExecutor) -> None:
    shared, reads, may_end = _SharedPage(), [], threading.Event()
    encoded = _EncodedPage(b"a page", has_events=True, is_full=False, last=1)

    def read() -> _EncodedPage:
        reads.append(encoded)
        assert may_end.wait(10)
        return encoded

    answers = [pool.submit(shared.get, read) for _ in range(8)]
    wait_until(lambda: bool(reads))
    may_end.set()
    assert [answer.result(10) for answer in answers] == [encoded] * 8
    assert len(reads) == 1


def test_a_read_that_fails_is_not_repeated_by_each_reader_of_the_page() -> None:
    shared, reads = _SharedPage(), []

    def read() -> _EncodedPage:
        reads.append(1)
        raise StoreUnavailable("the store is away")

    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            shared.get(read)
    assert len(reads) == 1
