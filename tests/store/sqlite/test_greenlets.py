"""The store in greenlets, as in a gevent worker: killed requests, and native threads that fail.

Each scenario runs in a process of its own, where gevent has patched what the store uses.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest

from orderapi.errors import StoreUnavailable
from orderapi.orders import place_order
from orderapi.store import native
from orderapi.store.contract import REQUEST_TIME_S, WriteTx
from tests.support.greenlets import disk_slowed, prepared, run_in_greenlets
from tests.support.placing import held, place, request_for, spoil_lock_file
from tests.support.rows import counts, query


def keys(path: Path) -> set[str]:
    return {key for (key,) in query(path, "SELECT idempotency_key FROM idempotency_keys")}


def noting(key: str, begun: list[str]) -> Callable[[WriteTx], Any]:
    claim, new_order = request_for(key)

    def note_and_place(tx: WriteTx) -> Any:
        begun.append(key)
        return place_order(tx, claim, new_order)

    return note_and_place


# gunicorn kills the greenlets of requests after `graceful_timeout`.


def test_a_request_that_is_killed_in_the_queue_fails_no_other_request(tmp_path: Path) -> None:
    run_in_greenlets(kill_in_the_queue, tmp_path / "orders.db")


def kill_in_the_queue(path: Path) -> None:
    store = prepared(path)
    with held(path):
        requests = [gevent.spawn(place, store, f"key-{number}") for number in range(5)]
        gevent.sleep(0.1)
        # Request 0 is the one whose arrival began the batch.
        for number in (0, 2):
            requests[number].kill()
            assert isinstance(requests[number].value, gevent.GreenletExit)
    gevent.joinall(requests, timeout=10, raise_error=True)
    assert keys(path) == {"key-1", "key-3", "key-4"}
    assert counts(path) == [3, 3, 3, 3]
    store.close()


def test_a_request_that_is_killed_during_the_commit_of_its_batch_fails_no_other_request(
    tmp_path: Path,
) -> None:
    run_in_greenlets(kill_in_the_batch, tmp_path / "orders.db")


def kill_in_the_batch(path: Path) -> None:
    store = prepared(path)
    begun: list[str] = []
    with disk_slowed(path):
        with held(path):
            names = ("a", "b", "c")
            requests = [gevent.spawn(store.write, noting(name, begun)) for name in names]
            gevent.sleep(0.1)
        while not begun:
            gevent.sleep(0.01)
        assert begun == ["a", "b", "c"]
        assert keys(path) == set()
        requests[0].kill()
    gevent.joinall(requests[1:], timeout=10, raise_error=True)
    # The order of the killed request was committed, so its retry is a replay.
    assert keys(path) == {"a", "b", "c"}
    assert place(store, "a").replayed
    assert not place(store, "next").replayed
    store.close()


def test_a_batch_that_ends_during_a_look_up_interrupts_nothing_and_loses_no_outcome(
    tmp_path: Path,
) -> None:
    run_in_greenlets(end_during_look_ups, tmp_path / "orders.db")


def end_during_look_ups(path: Path) -> None:
    """The look-up of another engine waits for its server, between the two waits for the job."""
    store = prepared(path)
    writer = store._writer
    looking_up: list[str] = []
    may_continue = gevent.event.Event()

    def spawn(key: str) -> gevent.Greenlet:
        def look_up() -> None:
            looking_up.append(key)
            may_continue.wait()

        deadline = time.monotonic() + REQUEST_TIME_S
        return gevent.spawn(writer.run, noting(key, []), deadline, look_up)

    with held(path):
        waiting, killed = spawn("waiting"), spawn("killed")
        while len(looking_up) < 2:
            gevent.sleep(0.01)
        killed.kill()
    while not counts(path)[0]:
        gevent.sleep(0.01)
    # The outcome is handed out in this time.
    gevent.sleep(0.2)
    assert not waiting.ready()
    may_continue.set()
    assert not waiting.get(timeout=10).replayed
    assert isinstance(killed.value, gevent.GreenletExit)
    assert keys(path) == {"waiting"}
    assert writer.in_hand() == 0
    store.close()


def test_a_request_that_is_killed_at_any_moment_leaves_exactly_one_running_drain(
    tmp_path: Path,
) -> None:
    run_in_greenlets(kill_at_any_moment, tmp_path)


def kill_at_any_moment(directory: Path) -> None:
    """The first write also starts the drain, and it may be killed while it does so."""
    for moment in range(8):
        database = directory / f"{moment}.db"
        store = prepared(database)
        first = gevent.spawn(place, store, "first")
        for _ in range(moment):
            gevent.sleep(0)
        first.kill()
        others = [gevent.spawn(place, store, f"key-{number}") for number in range(5)]
        gevent.joinall(others, timeout=10, raise_error=True)
        assert all(other.successful() for other in others)
        assert keys(database) - {"first"} == {f"key-{number}" for number in range(5)}
        drains = [
            found
            for found in gc.get_objects()
            if isinstance(found, gevent.Greenlet) and found.name == "drain" and found
        ]
        assert len(drains) == 1, moment
        store.close()


def test_a_failure_on_a_native_thread_fails_only_its_request(tmp_path: Path) -> None:
    run_in_greenlets(fail_natively, tmp_path / "orders.db")


def fail_natively(path: Path) -> None:
    """Nothing is printed, because stderr has only the JSON lines of the log."""
    store = prepared(path)
    place(store, "before")
    lock = spoil_lock_file(path)
    with pytest.raises(StoreUnavailable) as refused:
        place(store, "meanwhile")
    assert refused.value.reason.startswith("lock file")
    lock.unlink()
    with pytest.raises(SystemExit):
        store.write(leave)
    assert not place(store, "meanwhile").replayed
    store.close()


def leave(_: WriteTx) -> None:
    raise SystemExit(3)


def test_a_native_thread_that_cannot_start_fails_with_the_retryable_error(tmp_path: Path) -> None:
    run_in_greenlets(start_no_native_thread, tmp_path / "orders.db")


def start_no_native_thread(path: Path) -> None:
    store = prepared(path)
    with no_more_native_threads(), pytest.raises(StoreUnavailable):
        place(store, "refused")
    assert not place(store, "refused").replayed
    store.close()


@contextmanager
def no_more_native_threads() -> Iterator[None]:
    """Make the start of a native thread fail, as when the system gives no more threads."""

    def start(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    original = native.start_native_thread
    native.start_native_thread = start
    yield
    native.start_native_thread = original
