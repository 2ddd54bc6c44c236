"""The proof of one order has the findings that the audit has about this order."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreCorrupt
from orderapi.ops.proof import prove_order
from orderapi.store.sqlite.store import SqliteStore
from tests.ops.audit.test_rows import filled, names_of_the_middle
from tests.support.audited import findings
from tests.support.broken_events import BROKEN_EVENTS
from tests.support.broken_rows import BROKEN_ROWS

BROKEN = BROKEN_ROWS | BROKEN_EVENTS


def proof(database: Path, order_id: str) -> dict[str, tuple[str, ...]]:
    with closing(SqliteStore(database, read_only=True)) as store:
        checks = store.read(lambda tx: prove_order(tx, order_id))
    return {check.name: check.findings for check in checks}


def order_in_the_middle(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as db:
        return names_of_the_middle(db)


def test_each_check_of_a_sound_order_passes(database: Path) -> None:
    passed = proof(database, order_in_the_middle(database)["{id}"])
    assert len(passed) == 10
    assert set(passed.values()) == {()}


def test_the_first_and_the_last_order_are_sound_too(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        ends = db.execute("SELECT MIN(order_id), MAX(order_id) FROM orders").fetchone()
    for order_id in ends:
        assert set(proof(database, order_id).values()) == {()}


def test_an_order_that_does_not_exist_has_no_proof(database: Path) -> None:
    assert proof(database, "0198c0de-0000-7000-8000-000000000000") == {}


@pytest.mark.parametrize("script", [script for script, _ in BROKEN.values()], ids=BROKEN)
def test_the_audit_has_each_finding_of_the_proof(database: Path, script: str) -> None:
    names = order_in_the_middle(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.executescript(filled(script, names))
    by_audit = findings(database)
    try:
        checks = proof(database, names["{id}"])
    except StoreCorrupt:
        assert by_audit
        return
    by_proof = {each for found in checks.values() for each in found}
    # The audit names a whole range of missing numbers, and several orders of one key, at once.
    own = {each for each in by_proof if not re.search("is missing before|is also the key", each)}
    assert own <= set(by_audit)
    assert by_audit or not by_proof
    about_it = {each for each in by_audit if each.startswith(f"orders order_id '{names['{id}']}'")}
    assert about_it <= by_proof or not checks
