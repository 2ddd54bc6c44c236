"""`orderapi restore` detects every process that has the store open, in whatever state it is."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orderapi.ops.backup import AUDITING, COPYING
from orderapi.ops.restore import restore
from tests.support.backup_files import (
    contents,
    findings,
    keys_in,
    maintenance_of,
    orderapi,
    with_orders,
)
from tests.support.running import REPOSITORY, Server
from tests.support.waiting import awake_s

pytestmark = pytest.mark.sqlite_only("a process is found by its locks on a file of SQLite")

FORCED = pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])


def assert_in_use(*arguments: str | Path, database: Path) -> None:
    """Assert that a restore is refused for this reason. The server may write in the meantime."""
    before = {file.name for file in database.parent.iterdir()}
    done = orderapi("restore", *arguments, database=database)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: a process has {database} open: stop the service first")
    assert {file.name for file in database.parent.iterdir()} == before


@FORCED
@pytest.mark.parametrize("use", ["write", "read"])
def test_an_idle_server_is_found(
    server: Server, backup: Path, use: str, force: tuple[str, ...]
) -> None:
    answer = server.order("mine") if use == "write" else server.request("GET", "/orders")
    assert answer.status in (200, 201)
    assert_in_use(*force, backup, database=server.database)
    assert server.order("mine").status == 201
    assert findings_after_stop(server) == []


def findings_after_stop(server: Server) -> list[str]:
    server.stop()
    return findings(server.database)


@FORCED
def test_a_stopped_process_is_found(server: Server, backup: Path, force: tuple[str, ...]) -> None:
    server.order("mine")
    workers = server.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        assert_in_use(*force, backup, database=server.database)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    assert server.order("mine").headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("what_happened", ["moved", "deleted", "replaced"])
def test_a_server_whose_database_was_moved_away_is_found(
    server: Server, backup: Path, what_happened: str
) -> None:
    """At its end, SQLite deletes the WAL of that name, which would belong to the new database."""
    server.order("mine")
    away = server.database.with_name("away.db")
    server.database.rename(away)
    if what_happened == "deleted":
        away.unlink()
    elif what_happened == "replaced":
        with_orders(server.directory / "elsewhere.db").rename(server.database)
    assert_in_use("--force", backup, database=server.database)


@FORCED
def test_another_program_that_has_the_database_open_is_found(
    backup: Path, tmp_path: Path, force: tuple[str, ...]
) -> None:
    database = with_orders(tmp_path / "orders.db", "mine")
    with looking_into(database):
        assert_in_use(*force, backup, database=database)
    assert orderapi("restore", "--force", backup, database=database).returncode == 0


@contextmanager
def looking_into(database: Path) -> Iterator[None]:
    """Run another process that has the database open and is idle, until the block ends."""
    code = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "print(db.execute('SELECT COUNT(*) FROM orders').fetchall(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield
        process.communicate()


def test_a_server_without_a_request_so_far_serves_the_restored_database(
    server: Server, backup: Path
) -> None:
    """This server has no file open. Its first request opens the file that is there then."""
    done = orderapi("restore", "--force", backup, database=server.database)
    assert done.returncode == 0, done.stderr
    assert server.order("key-1").headers["idempotent-replayed"] == "true"
    assert server.order("new").status == 201
    assert server.request("GET", "/readyz").status == 200
    server.stop()
    assert keys_in(server.database) == {"key-1", "key-2", "new"}
    assert findings(server.database) == []


def test_a_process_that_opens_the_database_meanwhile_is_found(backup: Path, tmp_path: Path) -> None:
    database = with_orders(tmp_path / "orders.db", "mine")
    going_on = tmp_path / "going-on"
    os.mkfifo(going_on)
    before = contents(tmp_path)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from orderapi.ops.backup import AUDITING\n"
        "from orderapi.ops.restore import restore\n"
        "from tests.support.backup_files import maintenance_of\n"
        "def wait(stage, done, _):\n"
        "    if stage == AUDITING and done: open(sys.argv[3]).read()\n"
        "restore(maintenance_of(Path(sys.argv[1])), Path(sys.argv[2]), force=True,"
        " on_progress=wait, on_finding=print)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, database, backup, going_on],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
    ) as restoring:
        # Opening a FIFO waits until its other end is opened, so the audit has begun.
        end_of_wait = going_on.open("w")
        with looking_into(database):
            end_of_wait.close()
            _, stderr = restoring.communicate(timeout=30)
    assert b"FileRefused: a process has " in stderr
    assert contents(tmp_path) == before


def test_no_process_can_write_or_start_while_a_restore_runs(backup: Path, tmp_path: Path) -> None:
    database = with_orders(tmp_path / "orders.db", "mine")
    was_locked = {}

    def try_lock(stage: str, _done: int, _total: int) -> None:
        with database.with_name("orders.db-lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                was_locked[stage] = False
            except BlockingIOError:
                was_locked[stage] = True

    with closing(maintenance_of(database)) as maintenance:
        assert restore(maintenance, backup, force=True, on_progress=try_lock, on_finding=print)
    assert was_locked == {COPYING: True, AUDITING: True}


def test_a_restore_does_not_wait_for_long_for_the_holder_of_the_lock(
    backup: Path, tmp_path: Path
) -> None:
    database = with_orders(tmp_path / "orders.db", "mine")
    with database.with_name("orders.db-lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began_at = awake_s()
        done = orderapi("restore", "--force", backup, database=database)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: another process holds {database}-lock\n"
    assert awake_s() - began_at < 30
