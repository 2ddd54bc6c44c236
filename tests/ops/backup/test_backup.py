"""While a service writes, `orderapi backup` makes a complete and sound file of one moment.

If it fails, there is no file."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.ops.backup import AUDITING, COPYING, PARTIAL_NAME, backup
from orderapi.store.sqlite import copy as sqlite_copy
from orderapi.store.sqlite.store import SqliteStore
from tests.faults.test_kill import RetryingClients
from tests.support.audited import wal_can_be_reset
from tests.support.backup_files import (
    contents,
    findings,
    keys_in,
    limit_file_size,
    maintenance_of,
    orderapi,
    with_orders,
)
from tests.support.disks import mounted
from tests.support.placing import place
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import REPOSITORY, Server
from tests.support.waiting import wait_until


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return with_orders(tmp_path / "orders.db", *(f"key-{number}" for number in range(50)))


@pytest.mark.sqlite_only("the backup of PostgreSQL has tests of its own")
@promise("a key is never forgotten")
def test_a_backup_under_load_is_sound_and_has_every_acknowledged_order(server: Server) -> None:
    clients = RetryingClients(server)
    backups: dict[Path, dict[str, bytes]] = {}
    try:
        for number in range(3):
            wait_for_an_order(clients)
            acknowledged = dict(clients.acknowledged)
            file = server.directory / f"backup-{number}.db"
            done = orderapi("backup", file, database=server.database)
            assert done.returncode == 0, done.stderr
            assert findings(file) == []
            backups[file] = acknowledged
        wait_for_an_order(clients)
    finally:
        clients.stop()
    assert clients.surprises == []
    orders = [assert_exactly_once(file, acknowledged) for file, acknowledged in backups.items()]
    assert 0 < orders[0] < orders[1] < orders[2] < server.counts()["orders"]


def wait_for_an_order(clients: RetryingClients) -> None:
    """Wait until another order is acknowledged."""
    before = len(clients.acknowledged)
    wait_until(lambda: len(clients.acknowledged) > before)


def test_a_backup_is_of_one_moment_however_many_steps_it_takes(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a snapshot, SQLite restarts its copy after each write of another connection."""
    monkeypatch.setattr(sqlite_copy, "_PAGES_PER_STEP", 1)
    before = keys_in(database)
    steps = 0
    with closing(maintenance_of(database)) as store, closing(SqliteStore(database)) as others:

        def order(stage: str, _done: int, _total: int) -> None:
            nonlocal steps
            if stage == COPYING:
                steps += 1
                place(others, f"meanwhile-{steps}")

        assert backup(store, database.with_name("backup.db"), order, print)
    assert steps > 10
    assert keys_in(database.with_name("backup.db")) == before
    assert len(keys_in(database)) == len(before) + steps


def test_the_wal_can_be_reset_while_the_backup_is_audited(database: Path) -> None:
    moved = []
    with closing(maintenance_of(database)) as store, closing(SqliteStore(database)) as others:

        def reset_the_wal(stage: str, done: int, _total: int) -> None:
            if stage == AUDITING and not done:
                place(others, "meanwhile")
                moved.append(wal_can_be_reset(database))

        assert backup(store, database.with_name("backup.db"), reset_the_wal, print)
    assert moved == [True]


def test_a_backup_has_orders_that_are_still_in_the_wal(database: Path) -> None:
    with closing(SqliteStore(database)) as store:
        place(store, "in the WAL")
        done = orderapi("backup", database.with_name("backup.db"), database=database)
    assert done.returncode == 0
    assert "in the WAL" in keys_in(database.with_name("backup.db"))


def test_a_backup_is_one_file_that_only_its_owner_can_read(database: Path, tmp_path: Path) -> None:
    directory = tmp_path / "backups"
    directory.mkdir()
    done = orderapi("backup", directory / "1.db", database=database)
    assert done.returncode == 0
    size_mib = (directory / "1.db").stat().st_size / 2**20
    assert done.stdout == (
        "audited 50 orders: nothing breaks an invariant\n"
        f"the backup is {directory / '1.db'} ({size_mib:.1f} MiB)\n"
    )
    assert done.stderr == ""
    assert [file.name for file in directory.iterdir()] == ["1.db"]
    assert (directory / "1.db").stat().st_mode & 0o777 == 0o600


# Disks and signals.


def test_a_backup_is_refused_if_the_disk_has_too_little_space_for_it(
    database: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=2m", "none", disk):
        done = orderapi("backup", disk / "backup.db", database=database)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: no backup was made: no room in {disk}: ")
        assert list(disk.iterdir()) == []


def test_a_disk_that_becomes_full_leaves_no_part_of_a_backup(database: Path) -> None:
    done = orderapi(
        "backup", database.with_name("backup.db"), database=database, preexec_fn=limit_file_size
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: no backup was made: SQLITE_")
    assert done.stderr.count("\n") == 1
    assert set(contents(database.parent)) == {"orders.db"}


def test_an_interrupted_backup_cleans_up(database: Path) -> None:
    """The process sends the signal of Ctrl-C to itself during the audit of the copy."""
    file = database.with_name("backup.db")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from orderapi.ops.backup import AUDITING, backup\n"
        "from tests.support.backup_files import maintenance_of\n"
        # A shell that starts the tests in the background lets them ignore the signal.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def interrupt(stage, *_): stage == AUDITING and os.kill(os.getpid(), signal.SIGINT)\n"
        "backup(maintenance_of(Path(sys.argv[1])), Path(sys.argv[2]), interrupt, print)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, database, file],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert b"KeyboardInterrupt" in done.stderr
    assert not file.exists()
    assert not file.with_name(PARTIAL_NAME).exists()
