"""From the parsed URL of a database to its store. Nothing is opened until the store is used.

This is the only place that knows which engine opens which type of URL.
"""

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

    Raises StoreRefused if the driver of its engine is not installed.
    """
    if isinstance(url, SqliteUrl):
        return SqliteStore(url.path, read_only=read_only)
    try:
        # The driver is an extra, so it is imported only where it is needed.
        from orderapi.store.postgres.store import PostgresStore
    except ImportError as error:
        raise _no_driver(error) from error
    return PostgresStore(url)


def open_maintenance(url: DatabaseUrl) -> Maintenance:
    """Give the maintenance of the store at a URL. Raises StoreRefused as `open_store` does."""
    if isinstance(url, SqliteUrl):
        return SqliteMaintenance(url.path)
    try:
        from orderapi.store.postgres.maintenance import PostgresMaintenance
    except ImportError as error:
        raise _no_driver(error) from error
    return PostgresMaintenance(url)


def open_copy_source(url: DatabaseUrl) -> CopySource:
    """Give the store at a URL as the source of a copy. Raises StoreRefused as `open_store` does."""
    if isinstance(url, SqliteUrl):
        return SqliteCopySource(url.path)
    try:
        from orderapi.store.postgres.copy_source import PostgresCopySource
    except ImportError as error:
        raise _no_driver(error) from error
    return PostgresCopySource(url)


def open_copy_target(url: DatabaseUrl) -> CopyTarget:
    """Give the place at a URL as the target of a copy. Raises StoreRefused as `open_store` does."""
    if isinstance(url, SqliteUrl):
        return SqliteCopyTarget(url.path)
    try:
        from orderapi.store.postgres.copy_target import PostgresCopyTarget
    except ImportError as error:
        raise _no_driver(error) from error
    return PostgresCopyTarget(url)


def _no_driver(error: ImportError) -> StoreRefused:
    return StoreRefused(
        f"the driver of PostgreSQL cannot be loaded; install orderapi[postgres] ({error})"
    )
