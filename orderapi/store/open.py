"""From a database URL to a store; nothing is opened until the store is used."""

from orderapi.settings import sqlite_path
from orderapi.store.contract import Store
from orderapi.store.sqlite import SqliteStore


def open_store(database_url: str, *, waiting_when_stuck: int = 16) -> Store:
    """Give the store that a URL names.

    `waiting_when_stuck` is how many requests of this process may wait for a store that does
    nothing. Raises SettingsInvalid if the URL names no store.
    """
    return SqliteStore(sqlite_path(database_url), waiting_when_stuck=waiting_when_stuck)
