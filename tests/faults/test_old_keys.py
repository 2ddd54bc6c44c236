"""Keys of ten years ago are still known after an upgrade, a kill and a restore."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.sqlite.test_migrate import OLD_DATABASE
from tests.support.backup_files import backed_up, orderapi
from tests.support.client_crowd import Crowd
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.rows import query
from tests.support.running import Server, serving

# The orders of the old database were made in this month.
MADE_IN, LONG_AGO = "2026-11-", "2016-11-"


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, bytes]:
    """The answers by key in a database that the first release wrote, ten years ago."""
    old = OLD_DATABASE.read_text().replace(MADE_IN, LONG_AGO)
    database = tmp_path / "orders.db"
    with closing(sqlite3.connect(database)) as db:
        db.executescript("PRAGMA journal_mode = WAL;" + old)
    rows = query(
        database, "SELECT idempotency_key, response_body FROM idempotency_keys ORDER BY claim_id"
    )
    assert query(database, f"SELECT 1 FROM idempotency_keys WHERE created_at < '{MADE_IN}'")
    return {key: body.encode() for key, body in rows}


@promise("a key is never forgotten")
@promise("a replay is the same answer")
@promise("a conflict touches nothing")
def test_keys_of_ten_years_ago_replay_after_an_upgrade_a_kill_and_a_restore(
    tmp_path: Path, saved: dict[str, bytes]
) -> None:
    backup = tmp_path / "backup.db"
    with serving(tmp_path) as server:
        assert_all_are_known(server, saved)
        Crowd(server.order, 8, "new", count=40).start().join()
        assert_all_are_known(server, saved)
        server.kill()
        server.start()
        assert_all_are_known(server, saved)
        backed_up(server.database, backup)

    other_machine = tmp_path / "other-machine"
    other_machine.mkdir()
    restored = orderapi("restore", backup, database=other_machine / "orders.db")
    assert restored.returncode == 0, restored.stderr
    with serving(other_machine) as server:
        assert_all_are_known(server, saved)
        assert assert_exactly_once(server.engine, saved) == len(saved) + 8 * 40


def assert_all_are_known(server: Server, saved: dict[str, bytes]) -> None:
    """Assert that each key replays its own answer, and conflicts with any other payload."""
    before = server.counts()
    assert len(saved) == 5
    for quantity, (key, body) in enumerate(saved.items(), start=1):
        payload = {"customer_id": f"cust{quantity % 2}", "item_id": "item1", "quantity": quantity}
        replay = server.order(key, payload)
        assert (replay.status, replay.body) == (201, body)
        assert replay.headers["idempotent-replayed"] == "true"
        assert replay.headers["location"] == f"/orders/{replay.json['order_id']}"
        assert server.request("GET", replay.headers["location"]).body == body
        assert server.order(key, payload | {"quantity": quantity + 1}).status == 409
    assert server.counts() == before
