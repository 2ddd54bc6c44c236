"""`orderapi audit`: its exit codes, its output, and that it changes nothing but its result."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.idempotency import fingerprint
from orderapi.orders import place_order
from orderapi.records import Claim, NewOrder
from orderapi.store.contract import WriteTx
from orderapi.store.sqlite.store import SqliteStore
from tests.support.audited import break_invariant
from tests.support.backup_files import ORDERAPI
from tests.support.front import run


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A sound database with three orders, which no process serves."""
    return filled(tmp_path / "orders.db", 3)


def filled(path: Path, orders: int) -> Path:
    payload = {"customer_id": "cust1", "item_id": "item1", "quantity": 1}
    digest = fingerprint("POST", "/orders", payload)
    new_order = NewOrder("public", "cust1", "item1", 1)

    def place_all(tx: WriteTx) -> None:
        for number in range(orders):
            place_order(tx, Claim("public", f"key-{number}", digest), new_order)

    with closing(SqliteStore(path)) as store:
        store.prepare()
        store.write(place_all)
    return path


def dump(database: Path) -> list[str]:
    """Give the statements that make the database as it is now."""
    with closing(sqlite3.connect(database)) as db:
        return list(db.iterdump())


@pytest.mark.parametrize("source", ["option", "settings"])
def test_audit_of_a_sound_database_exits_with_0(database: Path, source: str) -> None:
    before = dump(database)
    url = f"sqlite:///{database}"
    if source == "option":
        other = f"sqlite:///{database.parent}/other.db"
        result = run("--database", url, command="audit", DATABASE_URL=other)
    else:
        result = run(command="audit", DATABASE_URL=url)
    assert result.exit_code == 0, result.output
    assert result.stdout == "audited 3 orders: nothing breaks an invariant\n"
    assert result.stderr == ""
    # The audit records only how it ended.
    after = dump(database)
    assert [line for line in after if 'INTO "last_audit"' not in line] == before
    assert len(after) == len(before) + 1


def test_audit_of_a_database_cut_short_exits_with_1(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(database, database.stat().st_size // 2)
    result = run("--database", f"sqlite:///{database}", command="audit")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot read sqlite:///{database}: SQLITE_CORRUPT: ")


def test_audit_lists_findings_and_exits_with_1(database: Path) -> None:
    break_invariant(database)
    result = run("--database", f"sqlite:///{database}", command="audit")
    assert result.exit_code == 1
    *findings, last = result.stdout.splitlines()
    assert any("events" in finding for finding in findings)
    assert last == f"audited 3 orders: {len(findings)} findings"
    assert result.stderr == ""


def test_an_audit_that_cannot_continue_exits_with_1(tmp_path: Path) -> None:
    database = filled(tmp_path / "orders.db", 2_000)
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("DELETE FROM events")
    command = [ORDERAPI, "audit", "--database", f"sqlite:///{database}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        # Its output exceeds the 64 KiB of a pipe, so the command waits in the middle of its work.
        assert running.stdout.read(1)
        database.unlink()
        running.stdout.read()
        stderr = running.stderr.read().decode()
    assert running.returncode == 1
    assert stderr.startswith("Error: the audit did not get to its end: database file: ")
    assert stderr.count("\n") == 1


def test_audit_cannot_change_the_database_that_it_reads(database: Path) -> None:
    # This holds although the file can be written and no other process has it open.
    with closing(SqliteStore(database, read_only=True)) as store:
        with pytest.raises(StoreUnavailable) as caught:
            store.write(lambda tx: tx.probe.touch())
        assert "SQLITE_READONLY" in caught.value.reason
