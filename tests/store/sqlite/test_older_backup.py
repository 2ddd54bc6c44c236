"""A backup of PostgreSQL with an older schema is migrated in a temporary copy, or refused."""

import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import FileRefused, StoreUnavailable
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.sqlite import start
from orderapi.store.sqlite.connection import Connection
from orderapi.store.sqlite.older_backup import bring_up_to_date
from tests.support.disks import mounted
from tests.support.rows import query

NEWEST = migrate.load("sqlite")[-1].number
SCHEMA = "SELECT MAX(number) FROM schema_migrations"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of PostgreSQL that was made before the newest migration."""
    file = tmp_path / "backup.db"
    with closing(Connection(file, "rwc")) as connection:
        start.apply_due(connection, migrate.load("sqlite")[:-1], start.POSTGRES_BACKUP_ID)
    return file


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary files of this test."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def test_the_migrated_copy_exists_until_the_block_ends(backup: Path, temporary: Path) -> None:
    with bring_up_to_date(backup) as file:
        assert query(file, SCHEMA) == [(NEWEST,)]
        assert query(backup, SCHEMA) == [(NEWEST - 1,)]
        assert temporary in file.parents
    assert list(temporary.iterdir()) == []


def test_a_backup_of_the_newest_schema_is_not_copied(backup: Path, temporary: Path) -> None:
    with closing(Connection(backup, "rw")) as connection:
        start.apply_due(connection, migrate.load("sqlite"), start.POSTGRES_BACKUP_ID)
    with bring_up_to_date(backup) as file:
        assert file == backup
        assert list(temporary.iterdir()) == []


def test_a_migration_that_fails_is_refused_in_a_line_that_names_the_backup(
    backup: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Migration(NEWEST + 1, 1, "INSERT INTO nowhere VALUES (1);\n")
    known = [*migrate.load("sqlite"), broken]
    monkeypatch.setattr(migrate, "load", lambda _engine: known)
    with pytest.raises(FileRefused) as refused, bring_up_to_date(backup):
        pytest.fail("a backup that was not migrated is given")
    line = str(refused.value)
    assert line.startswith(f"cannot bring the rows of {backup} to the schema of this release: ")
    assert "\n" not in line
    assert list(temporary.iterdir()) == []


def test_without_space_for_the_copy_the_error_names_the_setting_that_helps(
    backup: Path, temporary: Path
) -> None:
    with mounted("-t", "tmpfs", "-o", "size=2m", "none", temporary):
        with pytest.raises(StoreUnavailable) as failed, bring_up_to_date(backup):
            pytest.fail("a copy is given for which there is no room")
        assert failed.value.reason.startswith(f"no room in {temporary}")
        assert failed.value.reason.endswith("; set TMPDIR to a directory with more room")
        assert list(temporary.iterdir()) == []
