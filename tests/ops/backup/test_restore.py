"""`orderapi restore` returns to a backup, which is audited first, and keeps the old database."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.sqlite.start import UNFINISHED_COPY_ID
from orderapi.store.sqlite.store import SqliteStore
from tests.store.sqlite.test_migrate import NEWEST, OLD_DATABASE
from tests.support.backup_files import (
    backed_up,
    contents,
    findings,
    keys_in,
    left_by_a_kill,
    orderapi,
    orderapi_without,
    with_orders,
)
from tests.support.promises import promise
from tests.support.rows import query
from tests.support.running import Server

SOUND = "audited 2 orders: nothing breaks an invariant"


def kept(database: Path) -> Path:
    """The database that a restore has replaced, under its present name."""
    (found,) = database.parent.glob(f"{database.name}-replaced-*Z")
    return found


@pytest.mark.sqlite_only("the backup of PostgreSQL has tests of its own")
@promise("a key is never forgotten")
def test_a_restore_returns_to_the_backup_and_says_what_is_gone(server: Server) -> None:
    for key in ("early-1", "early-2"):
        server.order(key)
    early = server.order("early-1")
    backup = backed_up(server.database, server.directory / "backup.db")
    late = [server.order(f"late-{number}") for number in range(3)]
    server.stop()

    done = orderapi("restore", "--force", backup, database=server.database)
    (last,) = query(backup, "SELECT created_at FROM events WHERE sequence = 2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        SOUND,
        f"restored: everything up to event 2 of {last[0]}",
        "gone: 3 orders, 3 idempotency keys and 3 events that came later",
        f"the old database is kept as {kept(server.database)}",
    ]

    server.start()
    assert server.order("early-1").body == early.body
    assert server.request("GET", late[0].headers["location"]).status == 404
    again = server.order("late-0")
    assert (again.status, again.body != late[0].body) == (201, True)
    assert server.counts() == dict.fromkeys(server.counts(), 3)
    server.kill()
    assert findings(server.database) == []
    assert findings(kept(server.database)) == []
    assert keys_in(kept(server.database)) == {"early-1", "early-2", "late-0", "late-1", "late-2"}


def test_a_wal_that_a_killed_process_left_is_counted_and_kept(backup: Path, tmp_path: Path) -> None:
    database = left_by_a_kill(with_orders(tmp_path / "orders.db"), "in the WAL")
    done = orderapi("restore", "--force", backup, database=database)
    assert "gone: 1 order, 1 idempotency key and 1 event that came later\n" in done.stdout
    assert not database.with_name("orders.db-wal").exists()
    assert keys_in(database) == {"key-1", "key-2"}
    assert keys_in(kept(database)) == {"in the WAL"}


def test_a_restore_works_without_hard_links(backup: Path, tmp_path: Path) -> None:
    database = left_by_a_kill(with_orders(tmp_path / "orders.db"), "mine")
    done = orderapi_without("link", "restore", "--force", backup, database=database)
    assert (done.returncode, done.stderr) == (0, "")
    SqliteStore(database).prepare()
    assert keys_in(database) == {"key-1", "key-2"}
    assert findings(database) == []
    assert keys_in(kept(database)) == {"mine"}


def test_a_damaged_database_and_its_wal_are_kept_without_hard_links(
    backup: Path, tmp_path: Path
) -> None:
    database = left_by_a_kill(with_orders(tmp_path / "orders.db", "early"), "late")
    database.write_bytes(b"no database any more" * 1000)
    before = contents(tmp_path)
    done = orderapi_without("link", "restore", "--force", backup, database=database)
    assert (done.returncode, done.stderr) == (0, "")
    SqliteStore(database).prepare()
    assert keys_in(database) == {"key-1", "key-2"}
    after = contents(tmp_path)
    assert after[kept(database).name] == before["orders.db"]
    assert after[f"{kept(database).name}-wal"] == before["orders.db-wal"]


def test_all_rows_of_a_database_with_another_history_count_as_gone(
    backup: Path, tmp_path: Path
) -> None:
    database = with_orders(tmp_path / "orders.db", "key-1", "key-2", "key-3")
    done = orderapi("restore", "--force", backup, database=database)
    assert "gone: 3 orders, 1 idempotency key and 3 events that came later\n" in done.stdout


def test_without_a_database_a_restore_needs_no_force(backup: Path, tmp_path: Path) -> None:
    """This is the case of a new machine. The number of lost orders is then unknown."""
    database = tmp_path / "orders.db"
    done = orderapi("restore", backup, database=database)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == SOUND
    assert done.stdout.splitlines()[2:] == [
        "gone: everything that came later; the number is unknown because there was no database"
    ]
    assert set(contents(tmp_path)) == {"orders.db"}
    with closing(SqliteStore(database)) as store:
        store.prepare()
    assert keys_in(database) == {"key-1", "key-2"}


def test_a_damaged_database_is_replaced_and_kept_with_its_wal(backup: Path, tmp_path: Path) -> None:
    database = left_by_a_kill(with_orders(tmp_path / "orders.db", "early"), "late")
    database.write_bytes(b"no database any more" * 1000)
    before = contents(tmp_path)
    done = orderapi("restore", "--force", backup, database=database)
    assert done.returncode == 0
    assert "the number is unknown because the old database is damaged: SQLITE_NOTADB" in done.stdout
    SqliteStore(database).prepare()
    assert keys_in(database) == {"key-1", "key-2"}
    assert findings(database) == []
    assert kept(database).read_bytes() == before["orders.db"]
    assert (
        kept(database).with_name(f"{kept(database).name}-wal").read_bytes()
        == (before["orders.db-wal"])
    )


def test_if_the_old_rows_cannot_be_read_the_command_says_that_they_are_not_counted(
    backup: Path, tmp_path: Path
) -> None:
    database = with_orders(tmp_path / "orders.db", "key-1", "key-2")
    ((root,),) = query(database, "SELECT rootpage FROM sqlite_schema WHERE name = 'events'")
    with database.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    done = orderapi("restore", "--force", backup, database=database)
    assert done.returncode == 0
    assert (
        "the number is unknown because the old database is damaged: SQLITE_CORRUPT" in done.stdout
    )
    assert findings(database) == []


def test_a_journal_without_its_database_is_not_applied_to_the_new_one(
    backup: Path, tmp_path: Path
) -> None:
    """An interrupted first start leaves a journal, and an operator may then delete the database."""
    database = tmp_path / "orders.db"
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE t (a)")
        db.executemany("INSERT INTO t VALUES (randomblob(?))", [(900,)] * 100)
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE t SET a = randomblob(900)")
        journal = (tmp_path / "other.db-journal").read_bytes()
        assert journal.startswith(b"\xd9\xd5\x05\xf9")
        db.execute("ROLLBACK")
    (tmp_path / "orders.db-journal").write_bytes(journal)
    assert orderapi("restore", backup, database=database).returncode == 0
    SqliteStore(database).prepare()
    assert findings(database) == []
    assert keys_in(database) == {"key-1", "key-2"}


def test_a_restore_can_be_undone(backup: Path, tmp_path: Path) -> None:
    database = with_orders(tmp_path / "orders.db", "other")
    assert orderapi("restore", "--force", backup, database=database).returncode == 0
    done = orderapi("restore", "--force", kept(database), database=database)
    assert "gone: 2 orders, 2 idempotency keys and 2 events" in done.stdout
    assert keys_in(database) == {"other"}


def test_a_restore_replaces_an_unfinished_copy_only_with_force_and_a_service_then_starts(
    backup: Path, tmp_path: Path
) -> None:
    database = with_orders(tmp_path / "orders.db", "other")
    with closing(sqlite3.connect(database)) as db:
        db.execute(f"PRAGMA application_id = {UNFINISHED_COPY_ID}")
    assert orderapi("restore", backup, database=database).returncode == 2
    assert orderapi("restore", "--force", backup, database=database).returncode == 0
    store = SqliteStore(database)
    store.prepare()
    store.close()
    assert keys_in(database) == {"key-1", "key-2"}


def test_an_older_backup_is_migrated_to_the_current_schema(tmp_path: Path) -> None:
    backup, database = tmp_path / "backup.db", tmp_path / "orders.db"
    with closing(sqlite3.connect(backup)) as db:
        db.executescript(OLD_DATABASE.read_text())
    before = backup.read_bytes()
    done = orderapi("restore", backup, database=database)
    assert done.returncode == 0, done.stderr
    assert "audited 5 orders: nothing breaks an invariant" in done.stdout
    assert query(database, "SELECT MAX(number) FROM schema_migrations") == [(NEWEST,)]
    assert backup.read_bytes() == before
    assert findings(database) == []


def test_after_a_restore_by_root_the_service_can_write_the_files(
    backup: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    directory = tmp_path / "data"
    directory.mkdir()
    os.chown(directory, 12345, 12345)
    database = directory / "orders.db"
    assert orderapi("restore", backup, database=database).returncode == 0
    for file in (database, directory / "orders.db-lock"):
        assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12345)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    os.chown(database, 23456, 23456)
    database.chmod(0o640)
    assert orderapi("restore", "--force", backup, database=database).returncode == 0
    for file in (database, kept(database)):
        assert (file.stat().st_uid, file.stat().st_gid) == (23456, 23456)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
