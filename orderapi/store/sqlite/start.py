"""What a start does with a SQLite file: it makes it, migrates it, or refuses it."""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path

from orderapi.errors import StoreFailure, StoreRefused, StoreUnavailable
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.sqlite import integrity
from orderapi.store.sqlite.connection import (
    DRIVER_ERRORS,
    Connection,
    is_busy,
    reason,
    store_unavailable,
)
from orderapi.store.sqlite.files import DatabaseFiles

# "ORDA": marks the database file as ours (sqlite.org/fileformat.html, offset 68).
APPLICATION_ID = 0x4F524441
# "ORDC": marks a file into which a store is being copied. Releases that do not know this mark
# refuse the file too.
UNFINISHED_COPY_ID = 0x4F524443
# "ORDP": marks a backup of a database of PostgreSQL. It has the same tables as ours.
POSTGRES_BACKUP_ID = 0x4F524450
_NOT_SERVED: dict[object, str] = {
    UNFINISHED_COPY_ID: "is an unfinished copy: run `orderapi copy` again to finish it",
    POSTGRES_BACKUP_ID: (
        "is a backup of a database of PostgreSQL: restore it there, or move it with `orderapi copy`"
    ),
}
LOCK_TIMEOUT_S = 30.0
# Damage in a small database stops the start. A large database is not checked, because that would
# take longer than a start may take.
QUICK_CHECK_MAX_BYTES = 128 * 1024 * 1024
# SQLite needs this much for the index of a WAL.
_ROOM_MIN_BYTES = 64 * 1024
# STRICT tables came with SQLite 3.37.
SQLITE_VERSION_MIN = (3, 37, 0)


def prepare(
    files: DatabaseFiles,
    known: list[Migration],
    can_be_read: Callable[[], bool] = lambda: False,
    *,
    copy_of: Path | None = None,
) -> None:
    """Make the database, or apply the `known` migrations that are due. Nothing stays open.

    A start on a disk that is full is not refused if `can_be_read` tells that the database is
    prepared already and can be read. It then serves reads and replays. If the database is the copy
    of a file, `copy_of` is that file: an operator knows it, and messages about the content name it.

    Raises StoreRefused if this release cannot serve the database.
    """
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
        raise StoreRefused(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is needed")
    path = files.path
    name = copy_of or path
    if not path.parent.is_dir():
        raise StoreRefused(f"the directory {path.parent} does not exist")
    if path.exists() and not path.is_file():
        raise StoreRefused(f"{path} is not a file")
    try:
        with files.lock.hold_within(LOCK_TIMEOUT_S):
            files.refuse_unusable()
            with closing(Connection(path, "rwc", busy_timeout_s=LOCK_TIMEOUT_S)) as connection:
                refuse_foreign(connection, name)
                _refuse_corrupt(connection, name)
                enter_wal_mode(connection)
                apply_due(connection, known)
            files.sync_directory()
    except DRIVER_ERRORS as error:
        failure = store_unavailable(error)
        is_of_the_disk = failure.kind is StoreFailure.TEMPORARY and not is_busy(error)
        if not (is_of_the_disk and can_be_read()):
            raise StoreRefused(
                f"cannot use {name}: {reason(error)}{_note_on_full_disk(path)}"
            ) from error
    finally:
        files.close()


def refuse_unprepared(
    connection: Connection,
    known: list[Migration],
    accepted: Collection[int] = (APPLICATION_ID,),
    *,
    advice: str = "restart the service",
) -> None:
    """Raise StoreUnavailable if an open database is not ours, or if a migration of it is due.

    `accepted` are the marks of the files that this caller can use. `advice` says what an operator
    does about a migration that is due.
    """
    application_id = connection.value("PRAGMA application_id")
    if application_id not in accepted:
        what_it_is = _NOT_SERVED.get(application_id, "is not one of orderapi")
        raise StoreUnavailable(f"the database {what_it_is}")
    try:
        if is_migration_due(connection, known):
            raise StoreUnavailable(f"the schema of the database is not up to date; {advice}")
    except StoreRefused as error:
        raise StoreUnavailable(str(error)) from error


def is_migration_due(connection: Connection, known: list[Migration]) -> bool:
    """Tell whether the schema of a database is older than that of the `known` migrations.

    Raises StoreRefused if it is too new for them.
    """
    return bool(migrate.find_due(known, _applied_migrations(connection)))


def schema_of(known: list[Migration]) -> dict[str, str | None]:
    """Return the statement of each table, index and trigger that the `known` migrations make."""
    with closing(Connection(Path("schema"), "memory")) as connection:
        apply_due(connection, known)
        return dict(connection.execute(integrity.SCHEMA).fetchall())


def _note_on_full_disk(path: Path) -> str:
    """Return what to add to an error of SQLite, which does not always say that a disk is full."""
    status = os.statvfs(path.parent)
    is_full = status.f_bavail * status.f_frsize < _ROOM_MIN_BYTES or not status.f_favail
    return f"; the disk of {path.parent} is full" if is_full else ""


def refuse_foreign(
    connection: Connection, name: Path, accepted: Collection[int] = (APPLICATION_ID,)
) -> None:
    """Raise StoreRefused if a file is neither empty nor has one of the `accepted` marks.

    `name` is the file that the message names.
    """
    application_id = connection.value("PRAGMA application_id")
    has_entries = connection.value("SELECT COUNT(*) FROM sqlite_schema")
    if application_id not in accepted and (application_id or has_entries):
        what_it_is = _NOT_SERVED.get(application_id, "is not a database of orderapi")
        raise StoreRefused(f"{name} {what_it_is}")


def _refuse_corrupt(connection: Connection, name: Path) -> None:
    if connection.size_bytes() <= QUICK_CHECK_MAX_BYTES:
        finding = str(connection.value("PRAGMA quick_check(1)"))
        if finding != "ok":
            raise StoreRefused(f"{name} is corrupt: {' '.join(finding.split())}")


def enter_wal_mode(connection: Connection) -> None:
    """Let the file have a WAL. Raises StoreRefused if its file system cannot."""
    if connection.value("PRAGMA journal_mode = WAL") != "wal":
        raise StoreRefused("the database's file system does not support WAL; use a local disk")


def apply_due(
    connection: Connection, known: list[Migration], application_id: int = APPLICATION_ID
) -> None:
    """Mark the database with `application_id`, and apply the migrations that are due."""
    # This also happens when no migration is due, because it shows that the database can be written.
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.value("PRAGMA application_id") != application_id:
            connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            " number INTEGER NOT NULL PRIMARY KEY, works_with INTEGER NOT NULL) STRICT"
        )
        for migration in migrate.find_due(known, _applied_migrations(connection)):
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations VALUES (?, ?)",
                (migration.number, migration.works_with),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _applied_migrations(connection: Connection) -> dict[int, int]:
    return dict(connection.execute("SELECT number, works_with FROM schema_migrations").fetchall())


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements. A trigger with its inner statements is one of them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
