"""From the parsed URL of a database to its store. Nothing is opened until the store is used.

This is the only place that knows which engine opens which type of URL.
"""

from orderapi.settings import DatabaseUrl
from orderapi.store.contract import Store
from orderapi.store.maintenance import Maintenance
from orderapi.store.sqlite.maintenance import SqliteMaintenance
from orderapi.store.sqlite.store import SqliteStore


def open_store(url: DatabaseUrl, *, read_only: bool = False) -> Store:
    """Give the store at a URL. `read_only` is for commands that must not change it."""
    return SqliteStore(url.path, read_only=read_only)


def open_maintenance(url: DatabaseUrl) -> Maintenance:
    """Give the maintenance of the store at a URL."""
    return SqliteMaintenance(url.path)
