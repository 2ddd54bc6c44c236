"""A whole database that can be read and checked: one in use, or a backup."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from orderapi.store.sqlite import integrity, start
from orderapi.store.sqlite.database import Database
from orderapi.store.sqlite.readers import Readers
from orderapi.store.statements.execution import Row
from orderapi.store.statements.transaction import ReadTx

T = TypeVar("T")

# A backup of another engine can be audited, although no service can use it.
AUDITED_IDS = (start.APPLICATION_ID, start.POSTGRES_BACKUP_ID)


class SqliteAuditable:
    """See `maintenance.Auditable`.

    With `immutable`, the file is a backup to which no process writes. It is then read without
    locks, and no file is made beside it. `accepted` are the marks of the files that can be audited.
    """

    def __init__(
        self, path: Path, *, immutable: bool = False, accepted: Collection[int] = AUDITED_IDS
    ) -> None:
        self._database = Database(path, "immutable" if immutable else "ro", accepted)
        self._readers = Readers(self._database)

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `maintenance.Auditable`."""
        return self._readers.run(lambda connection: fn(connection.tx), deadline)

    def check(self) -> Iterator[str]:
        """See `maintenance.Auditable`. `integrity.findings` says what is checked at which cost."""

        def rows(sql: str) -> list[Row]:
            return self._readers.run(lambda connection: connection.rows(sql, {}))

        known = self._database.known
        return integrity.findings(rows, start.schema_of(known), known[-1].number)

    def close(self) -> None:
        """Close every file."""
        self._readers.close()
