"""A backup or a restore that is killed at any step leaves the state before it or after it."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreRefused
from orderapi.ops.backup import backup
from orderapi.ops.restore import restore
from orderapi.store.sqlite.store import SqliteStore
from tests.support.backup_files import (
    contents,
    findings,
    keys_in,
    left_by_a_kill,
    maintenance_of,
    orderapi,
    with_orders,
)
from tests.support.promises import promise
from tests.support.running import REPOSITORY

BEFORE = {"before-1", "before-2"}
AFTER = BEFORE | {"after-1", "after-2", "after-3"}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A directory with a backup, and a database whose later orders are in a left-over WAL."""
    directory = tmp_path / "template"
    directory.mkdir()
    database = with_orders(directory / "orders.db", *sorted(BEFORE))
    assert orderapi("backup", directory / "backup.db", database=database).returncode == 0
    left_by_a_kill(database, *sorted(AFTER - BEFORE))
    return directory


def killed_at_each_step(
    tmp_path: Path, first: str, *arguments: str, lacking: str = ""
) -> list[Path]:
    """Return the directories that the killed runs have left. The last run reached its end."""
    cases = tmp_path / "cases"
    cases.mkdir()
    template = tmp_path / "template"
    command = [
        sys.executable,
        "-m",
        "tests.support.dying_commands",
        str(cases),
        str(template),
        first,
        lacking,
    ]
    subprocess.run([*command, *arguments], cwd=REPOSITORY, check=True, timeout=100)
    return sorted(cases.iterdir(), key=lambda case: int(case.name))


def start(database: Path) -> None:
    """Do what a start does before it serves."""
    SqliteStore(database).prepare()


def restored(database: Path) -> set[str]:
    """Run the same command again, to its end, and return the keys in the database."""
    file = database.with_name("backup.db")
    with closing(maintenance_of(database)) as maintenance:
        done = restore(maintenance, file, force=True, on_progress=_quiet, on_finding=_quiet)
    assert done is not None
    start(database)
    return keys_in(database)


def _quiet(*_: object) -> None:
    pass


def leftovers(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir() if "-restoring" in file.name}


@promise("a key is never forgotten")
def test_a_killed_restore_leaves_the_old_database_with_its_wal_or_the_new_one(
    template: Path, tmp_path: Path
) -> None:
    assert template.is_dir()
    cases = killed_at_each_step(tmp_path, "fcntl.lockf", "restore", "--force", "backup.db")
    outcomes = []
    for case in cases:
        database = case / "orders.db"
        start(database)
        outcomes.append(keys_in(database))
        assert outcomes[-1] in (AFTER, BEFORE)
        assert findings(database) == []
        assert restored(database) == BEFORE
        assert leftovers(case) == set()
    # The restore takes effect at one step.
    assert outcomes == sorted(outcomes, key=len, reverse=True)
    assert outcomes[0] == AFTER
    assert outcomes[-1] == BEFORE
    assert len(cases) > 20


def test_a_killed_restore_without_hard_links_loses_nothing(template: Path, tmp_path: Path) -> None:
    assert template.is_dir()
    # Before this step the restore is the same as with hard links.
    cases = killed_at_each_step(
        tmp_path, "os.link", "restore", "--force", "backup.db", lacking="link"
    )
    outcomes = []
    for case in cases:
        database = case / "orders.db"
        if can_start(database):
            outcomes.append(keys_in(database))
            assert findings(database) == []
        else:
            (kept,) = case.glob("orders.db-replaced-*Z")
            assert keys_in(kept) == AFTER
            outcomes.append(set())
        assert restored(database) == BEFORE
        assert leftovers(case) == set()
    # First there is the old database, then none that could start, then the restored one.
    order = [AFTER, set(), BEFORE]
    assert outcomes == sorted(outcomes, key=order.index)
    assert {len(keys) for keys in outcomes} == {len(keys) for keys in order}


@pytest.mark.parametrize("lacking", ["", "link"])
def test_after_a_killed_restore_over_a_damaged_database_no_start_makes_a_new_one(
    template: Path, tmp_path: Path, lacking: str
) -> None:
    damage(template / "orders.db")
    old = {name: contents(template)[name] for name in ("orders.db", "orders.db-wal")}

    # Before this step the database is unchanged, as the test above shows.
    cases = killed_at_each_step(
        tmp_path, "os.link", "restore", "--force", "backup.db", lacking=lacking
    )
    starts = []
    for case in cases:
        database = case / "orders.db"
        assert is_kept(case, old)
        starts.append(can_start(database))
        if starts[-1]:
            assert keys_in(database) == BEFORE
            assert findings(database) == []
        assert restored(database) == BEFORE
    assert starts == sorted(starts)
    assert [starts[0], starts[-1]] == [False, True]


def damage(database: Path) -> None:
    """Overwrite a database so that SQLite does not recognise it, and its WAL cannot repair it."""
    database.write_bytes(b"no database any more" * 1000)


def can_start(database: Path) -> bool:
    try:
        start(database)
    except StoreRefused:
        return False
    return True


def is_kept(case: Path, old: dict[str, bytes]) -> bool:
    """Tell whether one set of files is complete: the damaged database with its WAL."""
    found = contents(case)
    names = {name.removesuffix("-wal") for name in found}
    return any(
        {name: found.get(name.replace("orders.db", kept_as)) for name in old} == old
        for kept_as in names
    )


@pytest.mark.parametrize("lacking", ["", "link", "rename"])
def test_a_killed_backup_leaves_a_complete_file_or_none(
    template: Path, tmp_path: Path, lacking: str
) -> None:
    assert template.is_dir()
    cases = killed_at_each_step(tmp_path, "open", "backup", "new.db", lacking=lacking)
    made = 0
    for case in cases:
        is_made = (case / "new.db").exists()
        made += is_made
        with_orders(case / "orders.db", "later")
        with closing(maintenance_of(case / "orders.db")) as maintenance:
            assert backup(maintenance, case / "again.db", _quiet, _quiet)
        if is_made:
            assert findings(case / "new.db") == []
            assert keys_in(case / "new.db") == AFTER
        assert list(case.glob("orderapi-backup.partial*")) == []
    assert 1 <= made < len(cases)
