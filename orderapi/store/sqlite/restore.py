"""Put a backup in the place of a SQLite database, which no process may have open."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from orderapi.errors import FileRefused, StoreCorrupt, StoreRefused
from orderapi.maintenance_records import Gone, Replaced
from orderapi.store import migrate
from orderapi.store.maintenance import Auditable, OnProgress
from orderapi.store.sqlite import start as sqlite_start
from orderapi.store.sqlite.auditable import SqliteAuditable
from orderapi.store.sqlite.connection import DRIVER_ERRORS, Connection, file_uri, store_unavailable
from orderapi.store.sqlite.copy import copy
from orderapi.store.sqlite.file_names import (
    LOCK_SUFFIX,
    SQLITE_SUFFIXES,
    side_file,
    size_of,
)
from orderapi.store.sqlite.file_swap import (
    hand_over,
    hold_exclusively,
    refuse_opened,
    swap,
)
from orderapi.store.sqlite.files import DatabaseFiles
from orderapi.store.sqlite.lock_file import COMMAND_WAIT_MAX_S, owner_of
from orderapi.store.statements.gone import count_gone


@contextmanager
def begin_restore(path: Path, *, force: bool) -> Iterator["SqliteRestore"]:
    """Hold the lock between processes of the database at `path`, so that no service can start.

    Raises FileRefused if a process has the database open, if there is a database and `force` is not
    given, or if this process may not replace it. Raises StoreRefused if the lock is not free in
    time.
    """
    files = DatabaseFiles(path)
    _refuse_unwritable(files.path)
    # This is checked before the lock is taken. A process that holds the lock for long, for example
    # because it was stopped, has the database open.
    with hold_exclusively(files.path):
        _refuse_existing(files.path, force=force)
    try:
        with files.lock.hold_within(COMMAND_WAIT_MAX_S):
            restore = SqliteRestore(files.path)
            try:
                yield restore
            finally:
                restore.clear()
    finally:
        files.close()


def _refuse_unwritable(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileRefused(f"the directory {path.parent} does not exist")
    if path.exists() and not path.is_file():
        raise FileRefused(f"{path} is not a file")
    owner, _ = owner_of(path)
    if os.geteuid() not in (0, owner):
        raise FileRefused(f"{path} belongs to another user: run this as that user, or as root")


def _refuse_existing(path: Path, *, force: bool) -> None:
    found = [file for file in (path, side_file(path, "-wal")) if size_of(file)]
    if found and not force:
        raise FileRefused(f"{found[0]} is there already; --force keeps it under another name")


class SqliteRestore:
    """See `maintenance.Restore`. `begin_restore` makes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = migrate.load("sqlite")
        self._copy = side_file(path, "-restoring")

    def copy_backup(self, backup: Path, on_progress: OnProgress) -> None:
        """See `maintenance.Restore`."""
        # A killed restore may have left a journal, and SQLite would apply it to this copy.
        self.clear()
        _refuse_no_backup(backup, self._path)
        try:
            with closing(Connection(backup, "immutable")) as source:
                _refuse_other_engine(source, backup)
                source.execute("BEGIN")
                self._copy.touch(0o600)
                copy(source, self._copy, on_progress)
        except DRIVER_ERRORS as error:
            failed = store_unavailable(error)
            if isinstance(failed, StoreCorrupt):
                raise FileRefused(f"cannot read {backup}: {failed.reason}") from error
            raise failed from error
        try:
            sqlite_start.prepare(DatabaseFiles(self._copy), self._known, copy_of=backup)
        except StoreRefused as error:
            raise FileRefused(f"cannot restore {backup}: {error}") from error

    def open_copy(self) -> AbstractContextManager[Auditable]:
        """See `maintenance.Restore`."""
        return closing(SqliteAuditable(self._copy, immutable=True))

    def put_in_place(self) -> Replaced:
        """See `maintenance.Restore`."""
        refuse_opened(self._path)
        gone, unknown = self._settle()
        with hold_exclusively(self._path):
            hand_over(self._copy, self._path)
            kept_as = swap(self._path, self._copy)
        return Replaced(None if kept_as is None else str(kept_as), gone, unknown)

    def clear(self) -> None:
        """Delete the copy, and every file beside it that a start, SQLite or a kill has left."""
        for suffix in ("", LOCK_SUFFIX, "-void", *SQLITE_SUFFIXES):
            side_file(self._copy, suffix).unlink(missing_ok=True)

    def _settle(self) -> tuple[Gone | None, str]:
        """Move the WAL of the old database into its file, and count what the backup does not have.

        A damaged database stays as it is.
        """
        if not size_of(self._path):
            return None, "there was no database"
        try:
            with closing(Connection(self._path, "rw")) as old:
                counted = self._count_gone(old)
                busy, _, _ = old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except DRIVER_ERRORS as error:
            failed = store_unavailable(error)
            if not isinstance(failed, StoreCorrupt):
                raise failed from error
            return None, f"the old database is damaged: {failed.reason}"
        if busy:
            raise FileRefused(f"a process has opened {self._path} meanwhile")
        return counted

    def _count_gone(self, old: Connection) -> tuple[Gone | None, str]:
        if old.value("PRAGMA application_id") != sqlite_start.APPLICATION_ID:
            return None, "what was there was no database of orderapi"
        old.execute("ATTACH ? AS restored", (file_uri(self._copy, "immutable"),))
        try:
            ((orders, keys, events),) = old.rows(count_gone("main", "restored"), {})
        except DRIVER_ERRORS as error:
            failed = store_unavailable(error)
            if not isinstance(failed, StoreCorrupt):
                raise failed from error
            return None, f"the old database is damaged: {failed.reason}"
        finally:
            old.execute("DETACH restored")
        return Gone(orders, keys, events), ""


def _refuse_other_engine(source: Connection, backup: Path) -> None:
    application_id = source.value("PRAGMA application_id")
    if application_id == sqlite_start.POSTGRES_BACKUP_ID:
        raise FileRefused(
            f"{backup} is a backup of a database of PostgreSQL: `orderapi copy sqlite:///{backup}"
            " TARGET_URL` moves it into a database of another engine"
        )
    if application_id != sqlite_start.APPLICATION_ID:
        raise FileRefused(f"{backup} is not a backup of orderapi")


def _refuse_no_backup(backup: Path, path: Path) -> None:
    if not os.access(backup, os.R_OK):
        raise FileRefused(f"{backup} cannot be read")
    if path.exists() and backup.samefile(path):
        raise FileRefused(f"{backup} is the database itself")
    for suffix in ("-wal", "-journal"):
        if size_of(side_file(backup, suffix)):
            raise FileRefused(
                f"{side_file(backup, suffix)} is there: {backup} is no backup, or was in use since"
            )
