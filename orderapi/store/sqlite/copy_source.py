"""A SQLite file from which a whole store is copied."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from orderapi.errors import FileRefused, StoreUnavailable
from orderapi.store import migrate
from orderapi.store.copying import Snapshot
from orderapi.store.sqlite import start
from orderapi.store.sqlite.connection import DRIVER_ERRORS, Connection, store_unavailable
from orderapi.store.sqlite.file_names import side_file, size_of
from orderapi.store.sqlite.file_swap import hold_exclusively, refuse_opened
from orderapi.store.sqlite.files import DatabaseFiles
from orderapi.store.sqlite.lock_file import COMMAND_WAIT_MAX_S
from orderapi.store.sqlite.older_backup import bring_up_to_date
from orderapi.store.statements.copies import CopyReads
from orderapi.store.statements.execution import Execute, Parameters, Row

READABLE_IDS = (start.APPLICATION_ID, start.POSTGRES_BACKUP_ID)
BACKUP_IDS = (start.POSTGRES_BACKUP_ID,)


class SqliteCopySource:
    """See `copying.CopySource`.

    With `backup_of_postgres`, the file must be a backup of a database of PostgreSQL.
    """

    def __init__(self, path: Path, *, backup_of_postgres: bool = False) -> None:
        self._files = DatabaseFiles(path)
        self._accepted = BACKUP_IDS if backup_of_postgres else READABLE_IDS

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """See `copying.CopySource`. No service can start while the lock is held."""
        path = self._files.path
        if not size_of(path):
            raise FileRefused(f"there is no database {path}")
        with hold_exclusively(path):
            is_backup = not self._files.lock.exists() and not size_of(side_file(path, "-wal"))
        with ExitStack() as held:
            if not is_backup:
                held.callback(self._files.close)
                held.enter_context(self._files.lock.hold_within(COMMAND_WAIT_MAX_S))
                refuse_opened(path)
            # Nothing is made beside a backup: a lock file would make it look like a store in use.
            mode = "immutable" if is_backup else "ro"
            file = held.enter_context(bring_up_to_date(path))
            connection = held.enter_context(open_snapshot(file, mode, self._accepted))
            # No service can start on the store until the lock is released.
            yield Snapshot(CopyReads(executor_of(connection)), lambda: None)


@contextmanager
def open_snapshot(
    path: Path, mode: str, accepted: Collection[int] = READABLE_IDS
) -> Iterator[Connection]:
    """Open one snapshot of a file. `mode` is a mode of `connection.file_uri`.

    Raises FileRefused if it is not a store or a backup with the schema of this release, and
    StoreUnavailable if it cannot be read.
    """
    try:
        connection = Connection(path, mode)
    except DRIVER_ERRORS as error:
        raise store_unavailable(error) from error
    with closing(connection):
        try:
            connection.execute("BEGIN")
            _refuse_unreadable(connection, path, accepted)
        except DRIVER_ERRORS as error:
            raise store_unavailable(error) from error
        yield connection


def executor_of(connection: Connection) -> Execute:
    """Give the function that runs the statements of `CopyReads` on a connection."""

    def rows(sql: str, parameters: Parameters) -> list[Row]:
        try:
            return connection.rows(sql, parameters)
        except DRIVER_ERRORS as error:
            raise store_unavailable(error) from error

    return rows


def _refuse_unreadable(connection: Connection, path: Path, accepted: Collection[int]) -> None:
    known = migrate.load("sqlite")
    application_id = connection.value("PRAGMA application_id")
    if accepted == BACKUP_IDS and application_id == start.APPLICATION_ID:
        raise FileRefused(
            f"{path} is a database of SQLite, or a backup of one: `orderapi copy sqlite:///{path}"
            " TARGET_URL` moves it into a database of PostgreSQL"
        )
    try:
        start.refuse_unprepared(connection, known, accepted, advice="start this release on it once")
    except StoreUnavailable as error:
        raise FileRefused(f"cannot copy {path}: {error.reason}") from error
