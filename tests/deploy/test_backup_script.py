"""`backup.sh`: it adds one backup, and it removes old backups but nothing else."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.backup_files import findings, with_orders
from tests.support.running import REPOSITORY, environ_with

OLD = [f"orders-202001{day:02}T000000Z.db" for day in range(1, 6)]
# These were made while the clock was years ahead.
AHEAD = [f"orders-209901{day:02}T000000Z.db" for day in range(1, 10)]
# The script never gives these names, although each of them begins or ends like one of its own.
NOT_OURS = [
    "orders-20200101.db",
    "orders-20200101T000000Z.db-wal",
    "orders-20200101T000000Z.db.gz",
    "orders-20200101T000000+0100.db",
    "orders-2020o101T000000Z.db",
    "orders-before the migration.db",
    "orders-zzz.db",
    "my-orders-20200101T000000Z.db",
    "orders-.db",
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory for backups, beside a database with one order."""
    with_orders(tmp_path / "orders.db", "key-1")
    # The script runs in the directory of a release and starts the program there.
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    made = tmp_path / "backups"
    made.mkdir()
    return made


def run(directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    settings = environ_with(DATABASE_URL=f"sqlite:///{directory.parent / 'orders.db'}")
    return subprocess.run(
        [REPOSITORY / "deploy/backup.sh", directory],
        cwd=directory.parent,
        env=settings | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def backed_up(directory: Path, **environ: str) -> str:
    """Run the script, and give the name of the backup that it made."""
    before = names_in(directory)
    done = run(directory, **environ)
    assert done.returncode == 0, done.stderr
    (name,) = names_in(directory) - before - {"latest.db"}
    assert findings(directory / name) == []
    assert (directory / "latest.db").readlink() == Path(name)
    return name


def names_in(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()}


def put(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        (directory / name).write_text(name)


def test_the_oldest_backups_are_removed_until_backups_kept_are_left(
    directory: Path,
) -> None:
    put(directory, OLD)
    new = backed_up(directory, BACKUPS_KEPT="3")
    assert names_in(directory) == {*OLD[3:], new, "latest.db"}


def test_no_backup_is_removed_while_there_are_few(directory: Path) -> None:
    put(directory, OLD)
    new = backed_up(directory)
    assert names_in(directory) == {*OLD, new, "latest.db"}


@pytest.mark.parametrize("there", [AHEAD, NOT_OURS])
def test_the_new_backup_is_never_removed(directory: Path, there: list[str]) -> None:
    put(directory, there)
    for kept in ("7", "1"):
        backed_up(directory, BACKUPS_KEPT=kept)


def test_after_a_clock_that_was_ahead_the_backups_of_the_right_clock_replace_the_others(
    directory: Path,
) -> None:
    put(directory, [*OLD[:1], *AHEAD[:2]])
    first = backed_up(directory, BACKUPS_KEPT="3")
    assert names_in(directory) == {OLD[0], AHEAD[1], first, "latest.db"}
    second = backed_up(directory, BACKUPS_KEPT="3")
    assert names_in(directory) == {OLD[0], first, second, "latest.db"}
    third = backed_up(directory, BACKUPS_KEPT="3")
    assert names_in(directory) == {first, second, third, "latest.db"}


def test_files_whose_names_do_not_have_exactly_our_form_are_never_removed(directory: Path) -> None:
    put(directory, NOT_OURS)
    (directory / "orders-20200102T000000Z.db").mkdir()
    (directory / "orders-20200103T000000Z.db").symlink_to("orders-zzz.db")
    before = names_in(directory)
    new = backed_up(directory, BACKUPS_KEPT="1")
    assert names_in(directory) == {*before, new, "latest.db"}
    assert all((directory / name).read_text() == name for name in NOT_OURS)


def test_a_second_backup_within_a_second_gets_a_name_of_its_own(directory: Path) -> None:
    moment = datetime.now(UTC)
    taken = {f"orders-{moment + timedelta(seconds=s):%Y%m%dT%H%M%SZ}.db" for s in range(2)}
    put(directory, taken)
    backed_up(directory)
    assert all((directory / name).read_text() == name for name in taken)


def test_a_backup_that_fails_removes_nothing(directory: Path) -> None:
    put(directory, OLD)
    (directory.parent / "orders.db").write_text("This file is not a database.")
    done = run(directory, BACKUPS_KEPT="1")
    assert done.returncode != 0
    assert names_in(directory) == set(OLD)


@pytest.mark.parametrize("kept", ["0", "-1", "many", "7 8", "99999999999999999999"])
def test_a_bad_value_of_backups_kept_is_refused_before_a_backup_is_made(
    directory: Path, kept: str
) -> None:
    put(directory, OLD)
    done = run(directory, BACKUPS_KEPT=kept)
    assert (done.returncode, names_in(directory)) == (1, set(OLD))
    assert done.stderr == (
        f"backup.sh: BACKUPS_KEPT must be an integer from 1 to 999999, not '{kept}'\n"
    )


def test_two_runs_at_once_never_work_in_the_same_directory(directory: Path) -> None:
    put(directory, OLD)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = run(directory, BACKUPS_KEPT="1")
    finally:
        os.close(descriptor)
    assert (done.returncode, names_in(directory)) == (1, set(OLD))
    assert done.stderr == f"backup.sh: another run is making a backup in {directory}\n"


def test_a_file_named_latest_db_that_is_not_our_link_is_not_replaced(directory: Path) -> None:
    put(directory, ["latest.db"])
    done = run(directory)
    assert done.returncode == 1
    assert "latest.db is not a link and was left as it is" in done.stderr
    assert (directory / "latest.db").read_text() == "latest.db"
    (made,) = names_in(directory) - {"latest.db"}
    assert findings(directory / made) == []


def test_a_backup_works_in_a_directory_without_symbolic_links(directory: Path) -> None:
    """FAT refuses links of both kinds. Some network file systems cannot sync a directory either."""
    programs = directory.parent / "programs"
    programs.mkdir()
    for name in ("ln", "sync"):
        put_program(programs / name, f"echo '{name}: Operation not permitted' >&2; exit 1")
    (directory.parent / ".venv").unlink()
    (directory.parent / ".venv/bin").mkdir(parents=True)
    without_links = f"cd {REPOSITORY} && exec {sys.executable} -m tests.support.without_links"
    put_program(directory.parent / ".venv/bin/orderapi", f'{without_links} link "$@"')
    put(directory, OLD)
    done = run(directory, BACKUPS_KEPT="2", PATH=f"{programs}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    (new,) = names_in(directory) - set(OLD)
    assert names_in(directory) == {OLD[-1], new}
    assert findings(directory / new) == []
    assert f"The newest backup is {new}." in done.stdout


def put_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
