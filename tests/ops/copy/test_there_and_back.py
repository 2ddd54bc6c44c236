"""A copy of a store has the same rows, gives the same answers, and accepts the same cursors."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import KeyReused, StoreRefused
from orderapi.records import Claim
from orderapi.settings import PostgresUrl
from orderapi.store.open import open_store
from orderapi.store.statements.copies import CHANGING_TABLES, GROWING_TABLES, TABLES_LEFT_OUT
from tests.support.backup_files import backed_up
from tests.support.copies import ORDERS, copy_here, fill, findings, order_of, rows_of, run_copy
from tests.support.engines import Engine, PostgresEngine, SqliteEngine
from tests.support.placing import place
from tests.support.promises import promise
from tests.support.running import Server, serving
from tests.support.waiting import wait_until


def test_a_store_that_is_copied_there_and_back_has_the_same_rows(
    sqlite: SqliteEngine, postgres: PostgresEngine, back: SqliteEngine
) -> None:
    before = rows_of(sqlite)
    there = run_copy(sqlite, postgres)
    assert there.returncode == 0, there.stderr
    assert f"copied {4 * ORDERS:,} rows" in there.stdout
    assert rows_of(postgres) == before
    assert findings(postgres.url) == []
    again = run_copy(postgres, back)
    assert again.returncode == 0, again.stderr
    assert rows_of(back) == before


@promise("a key is never forgotten")
@promise("a replay is the same answer")
def test_after_a_copy_old_keys_replay_byte_by_byte_and_cursors_are_valid(
    sqlite: SqliteEngine, postgres: PostgresEngine, tmp_path: Path
) -> None:
    with serving(tmp_path, sqlite) as server:
        answers = {key: server.order(key) for key in ("key-1", "key-2", "key-3")}
        page = server.request("GET", "/orders?limit=1")
        events = server.request("GET", "/events?limit=2").json
        assert server.stop() == 0
    assert run_copy(sqlite, postgres).returncode == 0
    with serving(tmp_path, postgres) as server:
        for key, answer in answers.items():
            retried = server.order(key)
            assert (retried.status, retried.body) == (answer.status, answer.body)
            assert retried.headers["location"] == answer.headers["location"]
            assert retried.headers["idempotent-replayed"] == "true"
            changed = server.order(key, {"customer_id": "c", "item_id": "i", "quantity": 9})
            assert changed.status == 409
        _assert_cursors_are_valid(
            server, page.json["next_cursor"], events["next"], [*answers.values()]
        )


def _assert_cursors_are_valid(
    server: Server, cursor: str, after: int, answers: list[object]
) -> None:
    listed = server.request("GET", f"/orders?limit=1&cursor={cursor}").json["orders"]
    assert listed == [json.loads(answers[1].body)]  # type: ignore[attr-defined]
    (event,) = server.request("GET", f"/events?after={after}").json["events"]
    assert event["data"] == json.loads(answers[2].body)  # type: ignore[attr-defined]
    new = server.order("key-4")
    assert new.status == 201
    (newer,) = server.request("GET", f"/events?after={int(event['sequence'])}").json["events"]
    assert int(newer["sequence"]) == int(event["sequence"]) + 1
    assert newer["data"] == new.json
    newest = server.request("GET", "/orders?limit=1").json["orders"]
    assert newest == [new.json]


def test_the_next_rows_of_the_target_are_numbered_after_those_of_the_source(
    sqlite: SqliteEngine, postgres: PostgresEngine
) -> None:
    assert run_copy(sqlite, postgres).returncode == 0
    with closing(open_store(postgres.url)) as store:
        _, new_order = order_of(0)
        claim = Claim(new_order.client_id, "a new key", "0" * 64)
        assert not store.place(claim, new_order).replayed
        old, _ = order_of(1)
        with pytest.raises(KeyReused):
            store.place(Claim(old.client_id, old.key, "0" * 64), new_order)
        lease = store.lease("relay")
    assert postgres.query("SELECT max(ledger_id), count(*) FROM ledger") == [
        (ORDERS + 1, ORDERS + 1)
    ]
    # The fence of a lease never shrinks, and its holder has stayed behind.
    assert lease is not None
    assert lease.fence == 2


def test_a_finished_copy_that_is_run_again_changes_nothing(
    sqlite: SqliteEngine, postgres: PostgresEngine, tmp_path: Path
) -> None:
    assert run_copy(sqlite, postgres).returncode == 0
    with serving(tmp_path, postgres) as server:
        assert server.order("new-key").status == 201
        before = postgres.dump()
        again = run_copy(sqlite, postgres)
        assert (again.returncode, again.stderr) == (0, "")
        assert "has everything of the source already" in again.stdout
        assert postgres.dump() == before


@pytest.mark.parametrize("into", ["postgres", "sqlite"])
def test_a_store_that_was_copied_ahead_while_it_was_used_needs_only_the_rest(
    sqlite: SqliteEngine, postgres: PostgresEngine, back: SqliteEngine, into: str
) -> None:
    target: Engine = postgres if into == "postgres" else back
    backup = SqliteEngine(sqlite.path.parent / "ahead")
    backup.path.parent.mkdir()
    with closing(open_store(sqlite.url)) as store:
        place(store, "before")
        backed_up(sqlite.path, backup.path)
        ahead = run_copy(backup, target, "--ahead")
        assert ahead.returncode == 0, ahead.stderr
        assert f"audited {ORDERS + 1:,} orders" in ahead.stdout
        assert "the copy is not finished" in ahead.stdout
        with (
            closing(open_store(target.url)) as unfinished,
            pytest.raises(StoreRefused, match="unfinished copy"),
        ):
            unfinished.prepare()
        place(store, "after")
        store.write(lambda tx: tx.relay.move_to(7))
    rest = run_copy(sqlite, target)
    assert rest.returncode == 0, rest.stderr
    assert "copied 4 rows" in rest.stdout
    assert f"audited {ORDERS + 2:,} orders: nothing" in rest.stdout
    assert rows_of(target) == rows_of(sqlite)


def test_findings_among_the_orders_after_those_that_were_copied_ahead_are_found(
    sqlite: SqliteEngine, postgres: PostgresEngine
) -> None:
    backup = SqliteEngine(sqlite.path.parent / "ahead")
    backup.path.parent.mkdir()
    backed_up(sqlite.path, backup.path)
    assert run_copy(backup, postgres, "--ahead").returncode == 0
    with closing(open_store(sqlite.url)) as store:
        place(store, "after")
    last = "(SELECT MAX(order_id) FROM orders)"
    sqlite.execute(f"UPDATE orders SET quantity = 77 WHERE order_id = {last}")
    rest = run_copy(sqlite, postgres)
    assert rest.returncode == 1
    assert "the copy is not finished" in rest.stdout


@promise("a key is never forgotten")
def test_an_order_that_is_acknowledged_while_the_copy_waits_for_the_lock_is_copied(
    postgres: PostgresEngine, back: SqliteEngine
) -> None:
    """The service gives its connections another name, so only the lock can stop the service."""
    fill(postgres, 3)
    url = PostgresUrl(f"{postgres.url_text}?application_name=shop")
    with closing(open_store(url)) as store, ThreadPoolExecutor(2) as pool:
        with postgres.held():
            placed = pool.submit(place, store, "late")
            wait_until(lambda: waiting_in(postgres) == 1, "an order that waits for the lock")
            copied = pool.submit(copy_here, postgres, back)
            wait_until(lambda: waiting_in(postgres) == 2, "a copy that waits for the order")
        order_id = placed.result().order_id
        done = copied.result()
    assert done is not None
    assert done.is_finished
    assert back.query(f"SELECT COUNT(*) FROM orders WHERE order_id = '{order_id}'") == [(1,)]
    assert rows_of(back) == rows_of(postgres)


def waiting_in(engine: PostgresEngine) -> int:
    """Count the connections that wait for a lock."""
    ((count,),) = engine.query(
        "SELECT COUNT(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(count)


def test_a_backup_is_copied_and_stays_a_backup(
    sqlite: SqliteEngine, postgres: PostgresEngine, back: SqliteEngine
) -> None:
    backed_up(sqlite.path, back.path)
    assert run_copy(back, postgres).returncode == 0
    # A lock file beside it would say that a service has used it.
    assert [file.name for file in back.path.parent.iterdir()] == [back.path.name]
    assert rows_of(postgres) == rows_of(sqlite)


def test_an_empty_store_is_copied(back: SqliteEngine, postgres: PostgresEngine) -> None:
    with closing(open_store(back.url)) as store:
        store.prepare()
    assert run_copy(back, postgres).returncode == 0
    with closing(open_store(postgres.url)) as store:
        store.prepare()
        assert store.read(lambda tx: tx.events.last_sequence()) == 0


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_every_table_and_every_column_is_copied_or_left_out(
    sqlite: SqliteEngine, postgres: PostgresEngine, name: str
) -> None:
    engine: Engine = sqlite
    columns = (
        "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table'"
    )
    # The lock row has no content. The number that SQLite gives a claim is not in the contract, and
    # the other columns of a lease belong to its holder.
    left_out = {("idempotency_keys", "claim_id"), ("leases", "holder")}
    if name == "postgres":
        with closing(open_store(postgres.url)) as store:
            store.prepare()
        engine = postgres
        columns = (
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        )
        left_out = {("write_lock", "lock_id"), ("leases", "holder")}
    found = {row for row in engine.query(columns) if row[0] not in TABLES_LEFT_OUT}
    copied = {
        (table.name, column)
        for table in (*GROWING_TABLES, *CHANGING_TABLES)
        for column in table.columns
    }
    assert found - left_out == copied
