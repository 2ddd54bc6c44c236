"""A backup that is refused leaves no file, and no backup takes a name or a file of others."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from orderapi.errors import FileRefused, StoreUnavailable
from orderapi.ops.backup import AUDITING, PARTIAL_NAME, backup
from tests.support.backup_files import (
    contents,
    findings,
    maintenance_of,
    orderapi,
    orderapi_without,
    with_orders,
)
from tests.support.running import REPOSITORY


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with three orders."""
    return with_orders(tmp_path / "orders.db", "key-1", "key-2", "key-3")


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


def test_a_file_that_is_made_during_the_backup_is_not_replaced(database: Path) -> None:
    file = database.with_name("backup.db")

    def come(*_: object) -> None:
        file.write_bytes(b"mine")

    with closing(maintenance_of(database)) as store, pytest.raises(FileRefused):
        backup(store, file, come, print)
    assert file.read_bytes() == b"mine"
    assert not file.with_name(PARTIAL_NAME).exists()


def test_a_directory_that_is_not_there_is_refused(database: Path, tmp_path: Path) -> None:
    done = orderapi("backup", "none/backup.db", database=database, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    place = tmp_path / "none"
    assert done.stderr == f"Error: cannot make a backup in {place}: No such file or directory\n"


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


def test_a_copy_with_findings_becomes_no_backup(database: Path) -> None:
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
def test_a_backup_gets_its_name_only_if_no_file_has_it(tmp_path: Path, lacking: str) -> None:
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
def test_a_backup_whose_unfinished_file_is_replaced_leaves_the_other_file(
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
