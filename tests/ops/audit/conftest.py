import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.ops import audit as audit_module
from orderapi.ops import audit_events
from orderapi.store.sqlite.store import SqliteStore
from tests.support.audited import ORDERS, place


@pytest.fixture(scope="module")
def sound_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of ORDERS orders, made once through the store and copied for each test."""
    database = tmp_path_factory.mktemp("sound") / "orders.db"
    store = SqliteStore(database)
    store.prepare()
    for number in range(ORDERS):
        place(store, number)
    store.close()
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.read_bytes()


@pytest.fixture
def database(tmp_path: Path, sound_bytes: bytes) -> Path:
    path = tmp_path / "orders.db"
    path.write_bytes(sound_bytes)
    return path


@pytest.fixture(params=[7, audit_module.RANGE_ORDERS], ids=["many-ranges", "one-range"])
def ranges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the ranges of the audit short too, so that each border between two ranges is tested."""
    monkeypatch.setattr(audit_module, "RANGE_ORDERS", request.param)
    monkeypatch.setattr(audit_module, "RANGE_KEYS", request.param)
    monkeypatch.setattr(audit_events, "RANGE_EVENTS", request.param)
