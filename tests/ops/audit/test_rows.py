import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.ops import audit as audit_module
from orderapi.ops.audit import audit
from orderapi.settings import SqliteUrl
from orderapi.store.open import open_maintenance
from orderapi.store.sqlite.store import SqliteStore
from tests.support.audited import GONE, ORDERS, findings
from tests.support.broken_events import BROKEN_EVENTS
from tests.support.broken_rows import BROKEN_ROWS

BROKEN = BROKEN_ROWS | BROKEN_EVENTS


@pytest.mark.usefixtures("ranges")
def test_a_sound_database_has_no_findings(database: Path) -> None:
    assert findings(database) == []


def test_an_empty_database_has_no_findings(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    SqliteStore(empty).prepare()
    assert findings(empty) == []


def test_progress_counts_every_order(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "RANGE_ORDERS", 70)
    seen: list[tuple[int, int]] = []
    with closing(open_maintenance(SqliteUrl(database))) as maintenance:
        assert list(audit(maintenance, lambda done, total: seen.append((done, total)))) == []
    assert [done for done, _ in seen] == [0, 70, 140, 210, 280, 300]
    assert seen[-1] == (ORDERS, ORDERS)


@pytest.mark.usefixtures("ranges")
@pytest.mark.parametrize(("script", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_each_way_to_break_a_row_has_its_finding(
    database: Path, script: str, expected: list[str]
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        names = names_of_the_middle(db)
        db.execute("PRAGMA foreign_keys = OFF")
        db.executescript(filled(script, names))
    found = findings(database)
    for line in expected:
        assert any(filled(line, names) in each for each in found), found
    assert all("\n" not in line for line in found)


def names_of_the_middle(db: sqlite3.Connection) -> dict[str, str]:
    ((order_id, ledger_id, sequence),) = db.execute(
        "SELECT orders.order_id, ledger_id, sequence FROM idempotency_keys"
        " JOIN orders USING (order_id) JOIN ledger USING (order_id) JOIN events USING (order_id)"
        " WHERE idempotency_key = 'key-150'"
    ).fetchall()
    ((other,),) = db.execute(
        "SELECT order_id FROM idempotency_keys WHERE idempotency_key = 'key-42'"
    ).fetchall()
    return {
        "{id}": order_id,
        "{ID}": order_id.upper(),
        "{ledger}": str(ledger_id),
        "{event}": str(sequence),
        "{event+1}": str(sequence + 1),
        "{other}": other,
        "{gone}": GONE,
    }


def filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(name, value)
    return text
