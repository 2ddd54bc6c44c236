"""The metrics show when the last backups were made."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.store.sqlite.store import SqliteStore
from tests.support.backup_files import backed_up, orderapi, with_orders
from tests.support.http_messages import ask
from tests.support.metrics import samples
from tests.support.placing import held

MADE = "orderapi_last_backup_timestamp_seconds"
VERIFIED = "orderapi_last_verified_backup_timestamp_seconds"
DURATION = "orderapi_last_backup_duration_seconds"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return with_orders(tmp_path / "orders.db", "key-1", "key-2")


def backup_times(client: FlaskClient) -> dict[str, float]:
    found = samples(ask(client, "/metrics"))
    return {name: found[name] for name in (MADE, VERIFIED) if name in found}


def now_s() -> float:
    return datetime.now(UTC).timestamp()


def test_the_metrics_show_a_backup(client: FlaskClient, database: Path) -> None:
    assert backup_times(client) == {}
    assert DURATION not in samples(ask(client, "/metrics"))
    before = now_s()
    backed_up(database, database.with_name("backup-1.db"))
    first = backup_times(client)
    assert before - 0.001 <= first[MADE] == first[VERIFIED] <= now_s()
    assert 0 < samples(ask(client, "/metrics"))[DURATION] <= now_s() - before
    backed_up(database, database.with_name("backup-2.db"))
    second = backup_times(client)
    assert first[MADE] < second[MADE] == second[VERIFIED]


def test_a_backup_with_findings_does_not_count_as_verified(
    client: FlaskClient, database: Path
) -> None:
    backed_up(database, database.with_name("backup-1.db"))
    first = backup_times(client)
    with closing(sqlite3.connect(database)) as damaged, damaged:
        damaged.execute("UPDATE idempotency_keys SET response_body = '{}'")
    assert orderapi("backup", database.with_name("backup-2.db"), database=database).returncode == 1
    second = backup_times(client)
    assert first[MADE] < second[MADE]
    assert second[VERIFIED] == first[VERIFIED]


def test_a_backup_is_complete_although_the_database_cannot_record_it(database: Path) -> None:
    file = database.with_name("backup.db")
    with held(database):
        done = orderapi("backup", file, database=database)
    assert done.returncode == 0
    assert "the metrics will not show this backup" in done.stderr
    with closing(SqliteStore(file, read_only=True)) as copy:
        assert copy.read(lambda tx: tx.events.last_sequence()) == 2


def test_a_restored_database_knows_only_the_backups_before_its_own(
    database: Path, tmp_path: Path
) -> None:
    file = backed_up(database, tmp_path / "backup.db")
    restored = tmp_path / "restored.db"
    assert orderapi("restore", file, database=restored).returncode == 0
    with closing(SqliteStore(restored)) as store:
        client = create_app(read_settings({}), store).test_client()
        assert backup_times(client) == {}
