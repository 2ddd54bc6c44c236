"""The event loop keeps running while the store waits for a lock or for the disk.

Each scenario runs in a process of its own, where gevent has patched what the store uses.
"""

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import get_hub

from orderapi.store.greenlet_drain import _NativeThread
from orderapi.store.native import native_sleep
from orderapi.store.sqlite.store import SqliteStore
from tests.support.greenlets import disk_slowed, prepared, run_in_greenlets
from tests.support.placing import held, place
from tests.support.rows import counts
from tests.support.waiting import awake_s

# On a busy machine the loop may be late by a part of this. A blocking call takes seconds here.
GAP_MAX_S = 0.5
HELD_S = 3.0


@contextmanager
def ticking(seconds: Callable[[], float]) -> Iterator[list[float]]:
    """Let a greenlet tick every 10 ms. Gives a list of the seconds from each tick to the next."""
    gaps: list[float] = []

    def tick() -> None:
        last = seconds()
        while True:
            gevent.sleep(0.01)
            now = seconds()
            gaps.append(now - last)
            last = now

    ticker = gevent.spawn(tick)
    yield gaps
    gevent.sleep(0.05)
    ticker.kill()


@contextmanager
def transaction_held(path: Path) -> Iterator[None]:
    outside = sqlite3.connect(path, isolation_level=None)
    outside.execute("BEGIN IMMEDIATE")
    yield
    outside.execute("ROLLBACK")
    outside.close()


HOLDING = {"flock": held, "transaction": transaction_held, "disk": disk_slowed}


@pytest.mark.parametrize("lock", HOLDING)
def test_no_call_of_the_store_blocks_the_loop(tmp_path: Path, lock: str) -> None:
    gap_s = float(run_in_greenlets(write_and_read_behind, tmp_path / "orders.db", lock))
    assert gap_s < GAP_MAX_S


@pytest.mark.parametrize("lock", ["flock", "disk"])
def test_a_store_without_native_threads_blocks_the_loop(tmp_path: Path, lock: str) -> None:
    """This shows that the test above can fail."""
    printed = run_in_greenlets(write_and_read_behind, tmp_path / "orders.db", lock, "in place")
    assert float(printed) > 2 * GAP_MAX_S


def in_place(_: _NativeThread, act: Callable[[], Any]) -> Any:
    return act()


def write_and_read_behind(path: Path, lock: str, where: str = "") -> None:
    """Write, make checkpoints and read, first while a lock is held, and then without it.

    Prints the longest gap between two ticks of the loop, in seconds."""
    seconds = awake_s
    if where == "in place":
        seconds = time.monotonic
        _NativeThread.run = in_place  # type: ignore[assignment, method-assign]
    store = prepared(path)
    place(store, "first")
    with ticking(seconds) as gaps:
        # A native thread holds the lock, so that it is released even if the loop is blocked.
        held_by: list[str] = []
        releasing = get_hub().threadpool.spawn(hold_for_a_while, path, lock, held_by)
        while not held_by:
            gevent.sleep(0.01)
        writers = [gevent.spawn(place_some, store, number) for number in range(20)]
        reader = gevent.spawn(read_repeatedly, store)
        gevent.joinall(writers, timeout=30, raise_error=True)
        reader.kill()
        releasing.get()
    assert counts(path) == [201, 201, 201, 201]
    sys.stdout.write(str(max(gaps)))
    store.close()


def hold_for_a_while(path: Path, lock: str, held_by: list[str]) -> None:
    with HOLDING[lock](path):
        held_by.append(lock)
        native_sleep(HELD_S)


def place_some(store: SqliteStore, number: int) -> None:
    for turn in range(10):
        place(store, f"{number}-{turn}")


def read_repeatedly(store: SqliteStore) -> None:
    with suppress(gevent.GreenletExit):
        while True:
            assert store.read(lambda tx: tx.keys.find_claim("public", "first")) is not None
            gevent.sleep(0.005)
