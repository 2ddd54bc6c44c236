"""`orderapi backup` makes a complete and sound file of one moment, or no file, during writes."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from orderapi.errors import FileRefused, StoreUnavailable
from orderapi.ops.backup import AUDITING, COPYING, PARTIAL_NAME, backup
from orderapi.store.sqlite import copy as sqlite_copy
from orderapi.store.sqlite.store import SqliteStore
from tests.faults.test_kill import RetryingClients
from tests.support.audited import wal_can_be_reset
from tests.support.backup_files import (
    contents,
    findings,
    keys_in,
    maintenance_of,
    orderapi,
    orderapi_without,
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
def test_a_backup_under_load_is_sound_and_has_all_that_was_acknowledged(server: Server) -> None:
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


def test_nothing_is_held_back_while_the_backup_is_audited(database: Path) -> None:
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


def test_a_backup_is_one_file_that_its_owner_alone_can_read(database: Path, tmp_path: Path) -> None:
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


# Refusals.


@pytest.mark.parametrize("kind", ["file", "directory", "dangling"])
def test_a_backup_replaces_nothing(database: Path, kind: str) -> None:
    file = database.with_name("backup.db")
    if kind == "file":
        file.write_bytes(b"mine")
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to("nowhere")
    before = contents(database.parent)
    done = orderapi("backup", file, database=database)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: {file} exists already; a backup replaces nothing\n"
    assert contents(database.parent) == before


def test_a_file_that_came_meanwhile_is_not_replaced(database: Path) -> None:
    file = database.with_name("backup.db")

    def come(*_: object) -> None:
        file.write_bytes(b"mine")

    with closing(maintenance_of(database)) as store, pytest.raises(FileRefused):
        backup(store, file, come, print)
    assert file.read_bytes() == b"mine"
    assert not file.with_name(PARTIAL_NAME).exists()


def test_a_directory_that_is_not_there_is_refused(database: Path, tmp_path: Path) -> None:
    done = orderapi("backup", tmp_path / "none" / "backup.db", database=database)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"/none/{PARTIAL_NAME}: No such file or directory\n")


def test_two_backups_in_one_directory_do_not_disturb_each_other(database: Path) -> None:
    refused = []
    with closing(maintenance_of(database)) as store, closing(maintenance_of(database)) as other:

        def back_up_another(stage: str, done: int, _total: int) -> None:
            if stage == AUDITING and not done:
                with pytest.raises(FileRefused) as caught:
                    backup(other, database.with_name("other.db"), lambda *_: None, print)
                refused.append(str(caught.value))

        assert backup(store, database.with_name("backup.db"), back_up_another, print)
    assert refused == [f"another backup is being written in {database.parent}"]
    assert findings(database.with_name("backup.db")) == []


def test_what_does_not_pass_the_audit_becomes_no_backup(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("DELETE FROM events WHERE sequence = 2")
    file = database.with_name("backup.db")
    done = orderapi("backup", file, database=database)
    assert done.returncode == 1
    assert "events sequence 2: is missing before 3" in done.stdout.splitlines()
    assert done.stdout.endswith(f"no backup was made: the copy of {file} has these findings\n")
    assert set(contents(database.parent)) == {"orders.db"}


# File systems.


@pytest.mark.parametrize("lacking", ["link", "rename"])
def test_a_file_system_may_lack_one_way_to_give_a_name(database: Path, lacking: str) -> None:
    directory = database.with_name("backups")
    directory.mkdir()
    done = orderapi_without(lacking, "backup", directory / "1.db", database=database)
    assert (done.returncode, done.stderr) == (0, "")
    assert [file.name for file in directory.iterdir()] == ["1.db"]
    assert findings(directory / "1.db") == []
    before = contents(directory)
    done = orderapi_without(lacking, "backup", directory / "1.db", database=database)
    assert done.returncode == 2
    assert contents(directory) == before


@pytest.mark.parametrize("lacking", ["link", "rename"])
def test_a_name_is_given_only_if_it_is_free(tmp_path: Path, lacking: str) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "other").write_bytes(b"other")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from orderapi import exclusive_name\n"
        "from tests.support import without_links\n"
        "without_links.refuse(sys.argv[1])\n"
        "exclusive_name.move(Path('mine'), Path('other'))\n"
    )
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, lacking]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert b"FileExistsError" in done.stderr
    assert contents(tmp_path) == {"mine": b"mine", "other": b"other"}


def test_a_directory_where_no_name_can_be_given_is_refused_before_the_copy(database: Path) -> None:
    before = contents(database.parent)
    file = database.with_name("backup.db")
    # The command would print the result of the audit of the copy.
    done = orderapi_without("link,rename", "backup", file, database=database)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: cannot make a backup in {file.parent}: this file system can neither rename"
        " without replacing nor make hard links\n"
    )
    assert contents(database.parent) == before


@pytest.mark.parametrize(
    ("name", "because"),
    [("x" * 300, "File name too long"), (PARTIAL_NAME, "cannot have this name")],
)
def test_a_name_that_no_backup_can_have_is_refused_before_the_copy(
    database: Path, name: str, because: str
) -> None:
    stages: list[str] = []
    with closing(maintenance_of(database)) as maintenance, pytest.raises(FileRefused) as caught:
        backup(
            maintenance, database.with_name(name), lambda *stage: stages.append(str(stage)), print
        )
    assert because in str(caught.value)
    assert stages == []


@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
def test_a_backup_whose_unfinished_file_is_taken_away_leaves_the_file_of_others(
    database: Path, is_replaced: bool
) -> None:
    partial_file = database.with_name(PARTIAL_NAME)

    def take_away(stage: str, done: int, _total: int) -> None:
        if stage == AUDITING and not done and partial_file.exists():
            partial_file.unlink()
            if is_replaced:
                partial_file.write_bytes(b"of another backup")

    file = database.with_name("backup.db")
    with (
        closing(maintenance_of(database)) as maintenance,
        suppress(FileRefused, StoreUnavailable),
    ):
        assert not backup(maintenance, file, take_away, print)
    assert not file.exists()
    assert partial_file.exists() == is_replaced
    if is_replaced:
        assert partial_file.read_bytes() == b"of another backup"


# Disks and signals.


def test_a_disk_without_room_for_all_of_it_is_not_filled(database: Path, tmp_path: Path) -> None:
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


def limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))


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
