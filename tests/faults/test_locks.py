"""Other processes hold the lock of the database: for a time, again and again, or suspended."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orderapi.store.sqlite.files import DatabaseFiles
from tests.support.client_crowd import Crowd, assert_reads_go_on, retried
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import Server, serving
from tests.support.waiting import awake_s, wait_until

pytestmark = pytest.mark.sqlite_only(
    "the test holds the lock of a database file, or moves that file"
)

CLIENTS = 150

HOLD_FLOCK = (
    "import fcntl, os, sys, time;"
    "fd = os.open(sys.argv[1] + '-lock', os.O_RDWR);"
    "fcntl.flock(fd, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
)
HOLD_TRANSACTION = (
    "import sqlite3, sys, time;"
    "db = sqlite3.connect(sys.argv[1], isolation_level=None);"
    "db.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(60)"
)


@contextmanager
def holding(script: str, database: Path, *, stopped: bool = False) -> Iterator[None]:
    """Let another process hold a lock until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(database)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        if stopped:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.kill()
        process.wait()


@promise("bad days lose nothing")
@promise("a failure is not remembered")
@pytest.mark.parametrize(
    ("script", "stopped"),
    [(HOLD_FLOCK, False), (HOLD_TRANSACTION, False), (HOLD_FLOCK, True)],
    ids=["flock", "transaction", "flock of a stopped process"],
)
def test_requests_that_failed_at_a_held_lock_succeed_after_its_release(
    server: Server, script: str, stopped: bool
) -> None:
    first = server.order("first")
    assert first.status == 201
    with holding(script, server.database, stopped=stopped):
        crowd = Crowd(server.order, CLIENTS, "held").start()
        while any(thread.is_alive() for thread in crowd.threads):
            assert_reads_go_on(server, "first", first.body, first.headers["location"])
            time.sleep(0.5)
        crowd.join()
        assert len(crowd.refused) == CLIENTS
        assert server.request("GET", "/readyz").status == 503
    made = retried(server, crowd.refused[:40])
    wait_until(lambda: server.request("GET", "/readyz").status == 200)
    # A write that had begun when its request reached its deadline may still be committed.
    assert assert_exactly_once(server.engine, made | {"first": first.body}) <= CLIENTS + 1


@promise("bad days lose nothing")
@pytest.mark.parametrize("script", [HOLD_FLOCK, HOLD_TRANSACTION], ids=["flock", "transaction"])
def test_while_a_lock_is_held_for_12_s_the_waits_of_four_workers_do_not_add_up(
    tmp_path: Path, script: str
) -> None:
    """Each request is answered within the promised time, however many requests wait before it."""
    with serving(tmp_path, WORKERS="4") as server:
        first = server.order("first")
        crowds: list[Crowd] = []
        with holding(script, server.database):
            held_until = time.monotonic() + 12
            while time.monotonic() < held_until:
                crowds.append(Crowd(server.order, 12, f"held-{len(crowds)}").start())
                assert_reads_go_on(server, "first", first.body, first.headers["location"])
                time.sleep(0.7)
            for crowd in crowds[:3]:
                crowd.join()
        for crowd in crowds:
            crowd.join()
        assert all(len(crowd.refused) == 12 for crowd in crowds[:3])
        made = {key: body for crowd in crowds for key, body in crowd.created.items()}
        made |= retried(server, [key for crowd in crowds for key in crowd.refused])
        assert len(made) == 12 * len(crowds)
        assert_exactly_once(server.engine, made | {"first": first.body})


def test_waiting_writes_commit_when_the_lock_is_released_in_time(server: Server) -> None:
    with holding(HOLD_FLOCK, server.database):
        crowd = Crowd(server.order, CLIENTS, "free").start()
        time.sleep(4)
    crowd.join()
    assert crowd.created
    made = crowd.created | retried(server, crowd.refused[:20])
    assert_exactly_once(server.engine, made)


@promise("bad days lose nothing")
def test_a_process_that_holds_the_lock_again_and_again_delays_no_request_too_long(
    server: Server,
) -> None:
    """Few orders commit between its turns, and more orders wait than can commit in time."""
    first = server.order("first")
    neighbour = DatabaseFiles(server.database).lock
    is_over = threading.Event()

    def take_turns() -> None:
        while not is_over.is_set():
            neighbour.take()
            time.sleep(0.6)
            neighbour.release()
            time.sleep(0.002)

    thread = threading.Thread(target=take_turns)
    thread.start()
    try:
        time.sleep(0.3)
        crowd = Crowd(server.order, CLIENTS, "slow").start()
        assert_reads_go_on(server, "first", first.body, first.headers["location"])
        crowd.join()
    finally:
        is_over.set()
        thread.join()
        neighbour.close()
    assert crowd.created
    made = crowd.created | retried(server, crowd.refused[:20])
    assert_exactly_once(server.engine, made)


@promise("bad days lose nothing")
@promise("a failure is not remembered")
def test_a_database_moved_away_and_back_serves_again(server: Server) -> None:
    first = server.order("first")
    away = server.database.rename(server.directory / "away.db")
    crowd = Crowd(server.order, 20, "away", count=3).start().join()
    assert len(crowd.refused) == 60
    assert server.request("GET", first.headers["location"]).status == 503
    assert server.request("GET", "/healthz").status == 200
    assert not server.database.exists()

    away.rename(server.database)
    assert server.order("first").body == first.body
    made = retried(server, crowd.refused)
    assert assert_exactly_once(server.engine, made | {"first": first.body}) == 61


@promise("bad days lose nothing")
@promise("an error is not a verdict")
def test_a_worker_that_is_suspended_while_it_writes_does_not_block_the_others_permanently(
    tmp_path: Path,
) -> None:
    """The worker gets SIGSTOP, perhaps while it holds the lock, and is killed 2 s later."""
    with serving(tmp_path, WORKERS="3") as server:
        crowd = Crowd(lambda key: server.order(key, timeout_s=60), 60, "busy", count=5).start()
        victim = server.workers()[0]
        time.sleep(0.2)
        os.kill(victim, signal.SIGSTOP)
        time.sleep(2)
        os.kill(victim, signal.SIGKILL)
        for thread in crowd.threads:
            thread.join(60)
        assert {sent.answer.status for sent in crowd.sent} <= {201, 503}
        made = crowd.created | retried(server, crowd.refused)
        assert_exactly_once(server.engine, made)


@promise("bad days lose nothing")
def test_a_program_that_prevents_reads_too_does_not_keep_requests_waiting(tmp_path: Path) -> None:
    """This is possible only while the service has no connection open, as after a start."""
    with serving(tmp_path) as server:
        with closing(sqlite3.connect(server.database, isolation_level=None)) as outside:
            outside.execute("PRAGMA locking_mode = EXCLUSIVE")
            outside.execute("BEGIN EXCLUSIVE")
            crowd = Crowd(server.order, 2 * CLIENTS, "shut-out").start()
            time.sleep(0.5)
            asked_at = awake_s()
            assert server.request("GET", "/healthz").status == 200
            assert awake_s() - asked_at < 6
            crowd.join()
            assert len(crowd.refused) == 2 * CLIENTS
            outside.execute("ROLLBACK")
        made = retried(server, crowd.refused[:20])
        assert assert_exactly_once(server.engine, made) == 20


def test_an_exclusive_transaction_of_another_program_delays_requests_and_fails_none(
    tmp_path: Path,
) -> None:
    """A person who makes a backup by hand may hold the database exclusively for a short time."""
    with serving(tmp_path) as server:
        first = server.order("first")
        with closing(sqlite3.connect(server.database, isolation_level=None, timeout=0)) as outside:
            outside.execute("BEGIN EXCLUSIVE")
            crowd = Crowd(server.order, 30, "exclusive").start()
            time.sleep(0.7)
            outside.execute("ROLLBACK")
        crowd.join()
        assert len(crowd.created) == 30
        assert_exactly_once(server.engine, crowd.created | {"first": first.body})
