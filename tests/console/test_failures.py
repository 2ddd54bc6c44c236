"""If the store cannot be read or is damaged, each page has one line with the reason."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.console_pages import Console, entered, order, words_of

PATHS = ("/search?q=key-1", "/orders?customer=cust1", "/clients/public", "/retry?key=k&body={}")


@pytest.fixture
def alone(store: SqliteStore, database: Path) -> Console:
    """A console on a database that no other process uses, and that it has not read yet."""
    order(store, "key-1")
    store.close()
    return entered(SqliteStore(database, read_only=True))


def refused(console: Console, path: str) -> str:
    answer = console.get(path)
    assert answer.status_code == 503
    assert "Traceback" not in answer.text
    words = words_of(answer)
    assert "The database cannot be read" in words
    return words


@pytest.mark.parametrize("path", PATHS)
def test_a_database_that_is_gone_is_named_on_every_page_until_it_is_back(
    alone: Console, database: Path, path: str
) -> None:
    assert alone.get(path).status_code in (200, 303)
    database.rename(database.with_name("elsewhere"))
    assert "database file: No such file or directory." in refused(alone, path)
    database.with_name("elsewhere").rename(database)
    assert alone.get(path).status_code in (200, 303)


def test_a_database_that_another_program_locks_exclusively_is_named(
    alone: Console, database: Path
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("UPDATE readiness_probe SET checked_at = checked_at")
        words = refused(alone, "/search?q=key-1")
    assert "Reload this page when the reason is gone." in words
    assert alone.get("/search?q=key-1").status_code == 303


def test_a_database_of_a_newer_schema_is_named(alone: Console, database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("INSERT INTO schema_migrations VALUES (999, 999)")
    assert "the database has schema 999, which needs" in refused(alone, "/search?q=1")


def test_a_database_without_our_tables_is_named(alone: Console, database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("DROP TABLE events")
    words = refused(alone, "/search?q=1")
    assert "no such table: events." in words
    assert "Start the console with the URL of a database of this release." in words


def test_a_file_that_is_no_database_is_named(alone: Console, database: Path) -> None:
    database.write_bytes(b"not a database, but long enough to have a header" * 100)
    assert "SQLITE_NOTADB" in refused(alone, "/search?q=key-1")


def test_damage_is_named_with_what_to_do(alone: Console, database: Path) -> None:
    content = database.read_bytes()
    at = next(re.finditer(rb"key-1[0-9a-f]{64}", content)).start() // 4096 * 4096
    database.write_bytes(content[:at] + b"\xee" * 4096 + content[at + 4096 :])
    words = refused(alone, "/search?q=key-1")
    assert "SQLITE_CORRUPT" in words
    assert "Run `orderapi audit` to list the damage, then restore a backup." in words


def test_an_error_of_the_console_itself_shows_and_logs_only_its_type(
    console: Console, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("customer secret-ann")

    console.app.testing = False
    monkeypatch.setattr("orderapi.console.finding.find", fail)
    answer = console.search("secret-key")
    assert answer.status_code == 500
    assert "an error of the console itself (ValueError)" in words_of(answer)
    assert "secret-ann" not in answer.text
    (record,) = caplog.records
    assert record.getMessage() == "a page of the console failed"
    assert "secret" not in str(record.__dict__)
    assert record.exception == "ValueError"  # type: ignore[attr-defined]  # an extra of the record
