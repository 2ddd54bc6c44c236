"""The result of the last audit is stored, and the metrics show it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orderapi.app import create_app
from orderapi.cli.report import KEPT_FINDINGS_MAX
from orderapi.maintenance_records import LastAudit
from orderapi.settings import read_settings
from orderapi.store.sqlite.store import SqliteStore
from tests.support.backup_files import backed_up, contents, orderapi, with_orders
from tests.support.http_messages import ask
from tests.support.metrics import samples
from tests.support.placing import held

METRICS = "orderapi_last_audit_"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A database that a service has written."""
    return with_orders(tmp_path / "served.db", *(f"key-{number}" for number in range(15)))


def last_audit(database: Path) -> LastAudit | None:
    with closing(SqliteStore(database, read_only=True)) as store:
        return store.read(lambda tx: tx.last_audit.find())


def metrics_of(database: Path) -> dict[str, float]:
    with closing(SqliteStore(database)) as store:
        client = create_app(read_settings({}), store).test_client()
        found = samples(ask(client, "/metrics"))
    return {
        name.removeprefix(METRICS): value
        for name, value in found.items()
        if name.startswith(METRICS)
    }


def test_an_audit_records_when_it_ended_and_that_it_found_nothing(served: Path) -> None:
    assert last_audit(served) is None
    assert metrics_of(served) == {}
    before_s = datetime.now(UTC).timestamp()
    assert orderapi("audit", database=served).returncode == 0
    after_s = datetime.now(UTC).timestamp()
    noted = last_audit(served)
    assert noted is not None
    assert (noted.result.orders, noted.result.findings, noted.result.first_findings) == (15, 0, "")
    shown = metrics_of(served)
    assert before_s - 0.001 <= shown["timestamp_seconds"] <= after_s
    assert shown["findings"] == 0
    assert 0 < shown["duration_seconds"] == noted.result.took_ms / 1000 < after_s - before_s


def test_the_next_audit_takes_the_place_of_the_last_one_and_keeps_its_first_findings(
    served: Path,
) -> None:
    orderapi("audit", database=served)
    with closing(sqlite3.connect(served)) as damaged, damaged:
        damaged.execute("UPDATE idempotency_keys SET response_body = '{}'")
    done = orderapi("audit", database=served)
    assert done.returncode == 1
    noted = last_audit(served)
    assert noted is not None
    assert noted.result.findings == 15
    printed = done.stdout.splitlines()
    assert noted.result.first_findings.splitlines() == printed[:KEPT_FINDINGS_MAX]
    assert metrics_of(served)["findings"] == 15


def test_an_audit_changes_nothing_in_a_backup(served: Path, tmp_path: Path) -> None:
    directory = tmp_path / "backups"
    directory.mkdir()
    file = backed_up(served, directory / "backup.db")
    before = contents(directory)
    done = orderapi("audit", database=file)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(directory) == before
    assert not Path(f"{file}-lock").exists()


def test_an_audit_has_a_result_although_the_database_cannot_record_it(served: Path) -> None:
    with held(served):
        done = orderapi("audit", database=served)
    assert done.returncode == 0
    assert "audited 15 orders: nothing breaks an invariant" in done.stdout
    assert "the metrics will not show this audit" in done.stderr
    assert last_audit(served) is None


def test_a_backup_is_not_an_audit_of_the_database_itself(served: Path) -> None:
    backed_up(served, served.with_name("backup.db"))
    assert last_audit(served) is None
