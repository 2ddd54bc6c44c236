"""A restore that is refused, or that fails, leaves everything as it was."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.sqlite.test_migrate import NEWEST
from tests.support.backup_files import (
    contents,
    left_by_a_kill,
    limit_file_size,
    orderapi,
    with_orders,
)
from tests.support.disks import mounted


def assert_refused(directory: Path, *arguments: str | Path, because: str) -> None:
    """Assert that a restore is refused in one line with the reason, and has changed nothing."""
    before = contents(directory)
    done = orderapi("restore", *arguments, database=directory / "orders.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert because in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert contents(directory) == before


def test_a_database_that_is_there_is_not_replaced_without_force(
    backup: Path, tmp_path: Path
) -> None:
    database = left_by_a_kill(with_orders(tmp_path / "orders.db"), "in the WAL")
    assert_refused(tmp_path, backup, because=f"{database} is there already; --force")
    database.unlink()
    assert_refused(tmp_path, backup, because=f"{database}-wal is there already; --force")


@pytest.mark.parametrize(
    ("kind", "because"),
    [
        ("missing", "there is no file"),
        ("directory", "there is no file"),
        ("text", "SQLITE_NOTADB"),
        ("empty", "is not a backup of orderapi"),
        ("foreign", "is not a backup of orderapi"),
        ("newer", f"needs a release that knows schema {NEWEST + 1} or newer"),
        ("in use", "-wal is there"),
    ],
)
def test_a_file_that_is_no_backup_for_this_release_is_refused(
    backup: Path, tmp_path: Path, kind: str, because: str
) -> None:
    with_orders(tmp_path / "orders.db", "mine")
    if kind in ("missing", "directory", "empty", "foreign"):
        backup.unlink()
    if kind == "directory":
        backup.mkdir()
    elif kind == "text":
        backup.write_text("no database\n" * 500)
    elif kind == "empty":
        backup.touch()
    elif kind == "foreign":
        with closing(sqlite3.connect(backup)) as db:
            db.execute("CREATE TABLE t (a)")
    elif kind == "newer":
        with closing(sqlite3.connect(backup)) as db, db:
            db.execute(f"INSERT INTO schema_migrations VALUES ({NEWEST + 1}, {NEWEST + 1})")
    elif kind == "in use":
        left_by_a_kill(backup, "later")
    assert_refused(tmp_path, "--force", backup, because=because)


@pytest.mark.parametrize(
    ("place", "because"),
    [("none/orders.db", "/none does not exist"), ("backups", "/backups is not a file")],
)
def test_a_restore_to_an_unusable_path_is_refused(
    backup: Path, tmp_path: Path, place: str, because: str
) -> None:
    done = orderapi("restore", "--force", backup, database=tmp_path / place)
    assert (done.returncode, done.stdout) == (2, "")
    assert because in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_backup_that_does_not_exist_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    assert_refused(tmp_path, missing, because=f"there is no file {missing}")
    with_orders(tmp_path / "orders.db", "mine")
    assert_refused(tmp_path, missing, because=f"there is no file {missing}")


def test_the_database_itself_is_refused(tmp_path: Path) -> None:
    database = with_orders(tmp_path / "orders.db", "mine")
    assert_refused(tmp_path, "--force", database, because="is the database itself")


def test_a_backup_that_does_not_pass_the_audit_is_not_restored(
    backup: Path, tmp_path: Path
) -> None:
    database = with_orders(tmp_path / "orders.db", "mine")
    with closing(sqlite3.connect(backup)) as db, db:
        db.execute("UPDATE orders SET quantity = 7")
    before = contents(tmp_path)
    done = orderapi("restore", "--force", backup, database=database)
    assert done.returncode == 1
    assert "audited 2 orders: " in done.stdout
    assert done.stdout.endswith("nothing was restored, and the database is as it was\n")
    assert contents(tmp_path) == before


def test_a_backup_that_was_cut_short_is_not_restored(backup: Path, tmp_path: Path) -> None:
    database = with_orders(tmp_path / "orders.db", "mine")
    os.truncate(backup, backup.stat().st_size - 4096)
    assert_refused(tmp_path, "--force", backup, because=f"cannot read {backup}: SQLITE_CORRUPT")
    assert database.is_file()


def test_a_restore_is_refused_if_the_disk_has_too_little_space_for_it(
    backup: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=2m", "none", disk):
        with_orders(disk / "orders.db", "mine")
        before = contents(disk)
        done = orderapi("restore", "--force", backup, database=disk / "orders.db")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: nothing was restored: no room in {disk}: ")
        assert contents(disk) == before


def test_a_disk_that_becomes_full_leaves_the_database_as_it_was(
    backup: Path, tmp_path: Path
) -> None:
    database = left_by_a_kill(with_orders(tmp_path / "orders.db"), "mine")
    before = contents(tmp_path)
    done = orderapi("restore", "--force", backup, database=database, preexec_fn=limit_file_size)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: nothing was restored: SQLITE_")
    assert contents(tmp_path) == before
