"""Numbered migrations of older databases, newer schemas, and several processes at once."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import FileRefused, KeyReused, StoreRefused, StoreUnavailable
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.sqlite.copy_source import SqliteCopySource
from orderapi.store.sqlite.restore import begin_restore
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place
from tests.support.promises import promise
from tests.support.rows import TABLES, counts, query
from tests.support.running import REPOSITORY

NEWEST = migrate.load("sqlite")[-1].number
OLD_DATABASE = Path(__file__).parent / "fixtures" / "schema_0001.sql"


@pytest.fixture
def old_path(tmp_path: Path) -> Path:
    """A database as the first release left it, with five orders."""
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA journal_mode = WAL;" + OLD_DATABASE.read_text())
    return path


def columns_of(path: Path, table: str) -> str:
    return ", ".join(
        name for (name,) in query(path, f"SELECT name FROM pragma_table_info('{table}')")
    )


@promise("a key is never forgotten")
def test_an_older_database_keeps_everything_through_its_migration(old_path: Path) -> None:
    # Migrations may add columns.
    columns = {table: columns_of(old_path, table) for table in TABLES}

    def rows() -> dict[str, list[tuple[object, ...]]]:
        return {table: query(old_path, f"SELECT {columns[table]} FROM {table}") for table in TABLES}

    before = rows()
    store = SqliteStore(old_path)
    store.prepare()
    try:
        assert rows() == before
        assert len(before["orders"]) == 5
        applied = query(old_path, "SELECT number FROM schema_migrations ORDER BY number")
        assert applied == [(number,) for number in range(1, NEWEST + 1)]
        assert query(old_path, "PRAGMA integrity_check") == [("ok",)]
        assert query(old_path, "PRAGMA foreign_key_check") == []
    finally:
        store.close()


@promise("a key is never forgotten")
def test_keys_of_an_older_database_replay_and_conflict(old_path: Path) -> None:
    saved = query(old_path, "SELECT idempotency_key, response_body FROM idempotency_keys")
    store = SqliteStore(old_path)
    store.prepare()
    try:
        for quantity, (key, body) in enumerate(saved, start=1):
            reply = place(store, key, quantity, f"cust{quantity % 2}")
            assert reply.replayed
            assert reply.body == body
            with pytest.raises(KeyReused):
                place(store, key, quantity + 1, f"cust{quantity % 2}")
        newest = max(query(old_path, "SELECT order_id FROM orders"))[0]
        made = place(store, "new")
        assert made.order_id > newest
        assert query(old_path, "SELECT MAX(sequence) FROM events") == [(6,)]
        assert counts(old_path) == [6, 6, 6, 6]
    finally:
        store.close()


def test_a_migrated_database_has_the_schema_of_a_new_one(old_path: Path, tmp_path: Path) -> None:
    new_path = tmp_path / "new.db"
    for path in (old_path, new_path):
        SqliteStore(path).prepare()
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
    assert query(old_path, schema) == query(new_path, schema)


def test_a_store_that_was_not_migrated_serves_nothing(old_path: Path) -> None:
    store = SqliteStore(old_path)
    with pytest.raises(StoreUnavailable):
        place(store, "too-early")
    with pytest.raises(StoreUnavailable):
        store.read(lambda tx: tx.orders.find_order("public", "x"))
    assert counts(old_path) == [5, 5, 5, 5]


def test_preparing_twice_changes_nothing(old_path: Path) -> None:
    SqliteStore(old_path).prepare()
    with closing(sqlite3.connect(old_path)) as db:
        before = list(db.iterdump())
        SqliteStore(old_path).prepare()
        assert list(db.iterdump()) == before


def test_a_failing_migration_leaves_the_database_as_it_was(old_path: Path) -> None:
    with closing(sqlite3.connect(old_path)) as db:
        before = list(db.iterdump())
        store = SqliteStore(old_path)
        number = NEWEST + 1
        broken = Migration(number, 1, "CREATE TABLE half (a);\nINSERT INTO nowhere VALUES (1);\n")
        store._database.known.append(broken)
        with pytest.raises(StoreRefused):
            store.prepare()
        assert list(db.iterdump()) == before
    SqliteStore(old_path).prepare()


def test_a_copy_of_a_database_that_was_not_migrated_is_refused(old_path: Path) -> None:
    with pytest.raises(FileRefused) as refused, SqliteCopySource(old_path).snapshot():
        pytest.fail("a database with an older schema is copied")
    assert str(refused.value) == (
        f"cannot copy {old_path}: the schema of the database is not up to date;"
        " start this release on it once"
    )


def test_a_backup_that_cannot_be_migrated_is_refused_in_a_line_that_names_the_backup(
    old_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [*migrate.load("sqlite"), Migration(NEWEST + 1, 1, "INSERT INTO nowhere VALUES (1);\n")]
    monkeypatch.setattr(migrate, "load", lambda _engine: known)
    with (
        begin_restore(tmp_path / "new.db", force=False) as restore,
        pytest.raises(FileRefused) as refused,
    ):
        restore.copy_backup(old_path, lambda _done, _total: None)
    line = str(refused.value)
    assert line.startswith(f"cannot restore {old_path}: cannot use {old_path}: SQLITE_ERROR")
    assert "new.db" not in line


def test_a_newer_schema_that_this_release_works_on_is_served(
    store: SqliteStore, database: Path
) -> None:
    add_migration(database, NEWEST + 1, works_with=NEWEST)
    store.prepare()
    place(store, "on-a-newer-schema")
    assert counts(database) == [1, 1, 1, 1]


def test_a_newer_schema_that_needs_newer_code_stops_the_start(
    store: SqliteStore, database: Path
) -> None:
    add_migration(database, NEWEST + 3, works_with=NEWEST + 2)
    with pytest.raises(StoreRefused) as refused:
        store.prepare()
    message = str(refused.value)
    assert f"schema {NEWEST + 3}" in message
    assert f"{NEWEST + 2} or newer" in message
    assert "\n" not in message


def test_a_database_that_becomes_too_new_under_old_code_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    SqliteStore(path).prepare()
    add_migration(path, NEWEST + 1, works_with=NEWEST + 1)
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable):
        place(store, "too-old")
    store.close()
    assert counts(path) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("applied", "expected"),
    [
        ({}, [1, 2, 3]),
        ({1: 1}, [2, 3]),
        ({1: 1, 2: 1, 3: 2}, []),
        ({1: 1, 2: 1, 3: 2, 4: 3, 5: 2}, []),
    ],
)
def test_migrations_that_were_not_applied_are_due(
    applied: dict[int, int], expected: list[int]
) -> None:
    known = [Migration(number, 1, "") for number in (1, 2, 3)]
    assert [migration.number for migration in migrate.find_due(known, applied)] == expected


def test_the_numbered_files_of_one_migration_are_joined_in_their_order(tmp_path: Path) -> None:
    add_file(tmp_path, "0007_2_indexes.sql", works_with=6)
    add_file(tmp_path, "0007_1_tables.sql", works_with=5)
    add_file(tmp_path, "0008_column.sql", works_with=7)
    migrations = [(each.number, each.works_with) for each in migrate.read_folder(tmp_path)]
    assert migrations == [(7, 6), (8, 7)]
    sql = migrate.read_folder(tmp_path)[0].sql
    assert sql.index("0007_1_tables.sql") < sql.index("0007_2_indexes.sql")


@pytest.mark.parametrize(
    "names",
    [
        ("0007_tables.sql", "0007_column.sql"),
        ("0007_1_tables.sql", "0007_column.sql"),
        ("0007_1_tables.sql", "0007_3_indexes.sql"),
        ("0007_2_indexes.sql",),
        ("0007_tables.sql", "0009_column.sql"),
    ],
)
def test_migrations_with_the_same_number_or_with_a_gap_are_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        add_file(tmp_path, name, works_with=1)
    with pytest.raises(ValueError, match="number"):
        migrate.read_folder(tmp_path)


def add_file(folder: Path, name: str, *, works_with: int) -> None:
    (folder / name).write_text(f"-- works-with: {works_with}\n-- {name}\n")


@promise("one key, one effect")
def test_four_processes_may_prepare_an_empty_database_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from orderapi.store.sqlite.store import SqliteStore;"
        "from tests.support.placing import place; sys.stdin.readline();"
        "store = SqliteStore(pathlib.Path(sys.argv[1])); store.prepare();"
        "print(place(store, 'same').order_id); store.close()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "orders.db")]
    processes = [
        subprocess.Popen(
            command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert len(set(outputs)) == 1
    assert counts(tmp_path / "orders.db") == [1, 1, 1, 1]


def add_migration(path: Path, number: int, *, works_with: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO schema_migrations VALUES (?, ?)", (number, works_with))
