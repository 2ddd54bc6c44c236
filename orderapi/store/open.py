"""From a database URL to a store; nothing is opened until the store is used."""

from contextlib import AbstractContextManager
from pathlib import Path

from orderapi.settings import sqlite_path
from orderapi.store.contract import Restore, Store
from orderapi.store.sqlite import restore as sqlite_restore
from orderapi.store.sqlite.store import SqliteStore


def open_store(database_url: str, *, read_only: bool = False) -> Store:
    """Give the store that a URL names.

    `read_only` is for commands that look at a store and must not change it. Raises SettingsInvalid
    if the URL names no store.
    """
    return SqliteStore(sqlite_path(database_url), read_only=read_only)


def open_backup(file: Path) -> Store:
    """Give the store that a backup is, for reading; nothing is made beside it."""
    return SqliteStore(file, immutable=True)


def restoring(database_url: str, *, force: bool) -> AbstractContextManager[Restore]:
    """Begin to put a backup in the place of the store that a URL names.

    Raises FileRefused if a process has that store open, or if there is one, without `force`; and
    StoreRefused if it cannot be locked in time.
    """
    return sqlite_restore.restoring(sqlite_path(database_url), force=force)
