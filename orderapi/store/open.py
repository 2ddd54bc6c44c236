"""From the parsed URL of a database to its store. Nothing is opened until the store is used.

This is the only place that knows which engine opens which type of URL.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from orderapi.errors import StoreRefused
from orderapi.settings import DatabaseUrl, SqliteUrl
from orderapi.store.contract import Store
from orderapi.store.copying import CopySource, CopyTarget
from orderapi.store.maintenance import Maintenance
from orderapi.store.sqlite.copy_source import SqliteCopySource
from orderapi.store.sqlite.copy_target import SqliteCopyTarget
from orderapi.store.sqlite.maintenance import SqliteMaintenance
from orderapi.store.sqlite.store import SqliteStore


def open_store(url: DatabaseUrl, *, read_only: bool = False) -> Store:
    """Give the store at a URL. `read_only` is for commands that must not change it.

    With `read_only`, a SQLite file is opened for reading only. PostgreSQL needs no such option,
    because every read there is a READ ONLY transaction.

    Raises StoreRefused if the driver of its engine is not installed.
    """
    if isinstance(url, SqliteUrl):
        return SqliteStore(url.path, read_only=read_only)
    with _require_driver():
        from orderapi.store.postgres.store import PostgresStore
    return PostgresStore(url)


def open_maintenance(url: DatabaseUrl) -> Maintenance:
    """Give the maintenance of the store at a URL. Raises StoreRefused as `open_store` does."""
    if isinstance(url, SqliteUrl):
        return SqliteMaintenance(url.path)
    with _require_driver():
        from orderapi.store.postgres.maintenance import PostgresMaintenance
    return PostgresMaintenance(url)


def open_copy_source(url: DatabaseUrl) -> CopySource:
    """Give the store at a URL as the source of a copy. Raises StoreRefused as `open_store` does."""
    if isinstance(url, SqliteUrl):
        return SqliteCopySource(url.path)
    with _require_driver():
        from orderapi.store.postgres.copy_source import PostgresCopySource
    return PostgresCopySource(url)


def open_copy_target(url: DatabaseUrl) -> CopyTarget:
    """Give the place at a URL as the target of a copy. Raises StoreRefused as `open_store` does."""
    if isinstance(url, SqliteUrl):
        return SqliteCopyTarget(url.path)
    with _require_driver():
        from orderapi.store.postgres.copy_target import PostgresCopyTarget
    return PostgresCopyTarget(url)


@contextmanager
def _require_driver() -> Iterator[None]:
    """Import the engine for PostgreSQL in the block. Raises StoreRefused if its driver is missing.

    The driver is an extra, so it is imported only where it is needed.
    """
    try:
        yield
    except ImportError as error:
        raise StoreRefused(
            f"the driver of PostgreSQL cannot be loaded; install orderapi[postgres] ({error})"
        ) from error
