"""Backups of a SQLite store, by `maintenance.Maintenance`."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreFailure, StoreUnavailable
from orderapi.settings import SqliteUrl
from orderapi.store.maintenance import Auditable, Maintenance
from orderapi.store.open import open_maintenance
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place


@pytest.fixture
def maintenance(store: SqliteStore, database: Path) -> Iterator[Maintenance]:
    """The maintenance of a store with two orders, which is in use."""
    for key in ("first", "second"):
        place(store, key)
    with closing(open_maintenance(SqliteUrl(database))) as maintenance:
        yield maintenance


def last_sequence(auditable: Auditable) -> int:
    return auditable.read(lambda tx: tx.events.last_sequence())


def test_a_backup_has_what_was_committed_before_it_and_can_be_checked(
    store: SqliteStore, maintenance: Maintenance, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    file.touch()
    maintenance.back_up(file, lambda _done, _total: None)
    place(store, "third")
    with maintenance.open_backup(file) as backup:
        assert last_sequence(backup) == 2
        assert list(backup.check()) == []
    assert last_sequence(maintenance) == 3


def test_a_file_that_is_no_backup_fails_with_a_kind_that_callers_can_test(
    maintenance: Maintenance, tmp_path: Path
) -> None:
    file = tmp_path / "letter"
    file.write_text("Dear aunt,\n" * 1000)
    with maintenance.open_backup(file) as backup, pytest.raises(StoreUnavailable) as failed:
        last_sequence(backup)
    assert failed.value.kind is StoreFailure.FOREIGN
