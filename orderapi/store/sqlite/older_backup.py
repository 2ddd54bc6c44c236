"""A backup of PostgreSQL that an older release has made, in the schema of this release."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from orderapi.errors import FileRefused, StoreRefused, StoreUnavailable
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.sqlite import start
from orderapi.store.sqlite.connection import DRIVER_ERRORS, Connection, reason, store_unavailable
from orderapi.store.sqlite.copy import copy


@contextmanager
def bring_up_to_date(backup: Path) -> Iterator[Path]:
    """Give a file that has the rows of a backup and the schema of this release.

    A backup of PostgreSQL with an older schema is copied into a temporary directory, and the copy
    is migrated. It exists until the block ends. Every other file is given as it is. No service
    starts on a backup of PostgreSQL, so nothing else could migrate it.

    Raises FileRefused if a migration fails, and StoreUnavailable if the file cannot be read or
    copied.
    """
    known = migrate.load("sqlite")
    with ExitStack() as held:
        file = backup
        try:
            with closing(Connection(backup, "immutable")) as source:
                if _is_older(source, known):
                    directory = held.enter_context(TemporaryDirectory(prefix="orderapi-backup-"))
                    file = Path(directory) / "migrated.db"
                    _copy(source, file)
                    _migrate(file, known, backup)
        except DRIVER_ERRORS as error:
            raise store_unavailable(error) from error
        yield file


def _is_older(source: Connection, known: list[Migration]) -> bool:
    if source.value("PRAGMA application_id") != start.POSTGRES_BACKUP_ID:
        return False
    try:
        return start.is_migration_due(source, known)
    except StoreRefused:
        return False  # its schema is newer, and `open_snapshot` refuses it with the reason


def _copy(source: Connection, file: Path) -> None:
    source.execute("BEGIN")
    file.touch(0o600)
    try:
        copy(source, file, lambda _done, _total: None)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"{error.reason}; set TMPDIR to a directory with more room"
        ) from error


def _migrate(file: Path, known: list[Migration], backup: Path) -> None:
    try:
        with closing(Connection(file, "rw")) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            start.apply_due(connection, known, start.POSTGRES_BACKUP_ID)
    except DRIVER_ERRORS as error:
        raise FileRefused(
            f"cannot bring the rows of {backup} to the schema of this release: {reason(error)}"
        ) from error
