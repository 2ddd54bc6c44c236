"""What an operator does with a whole store: audit it, back it up, restore it.

A backup of any engine is a SQLite file. It can be restored into the engine from which it was made.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from orderapi.maintenance_records import Replaced
from orderapi.store.statements.transaction import ReadTx

T = TypeVar("T")

# Called as `on_progress(done, total)`. The unit is the engine's own.
OnProgress = Callable[[int, int], None]


class Auditable(Protocol):
    """A whole store that can be read and checked. It is a store in use, or a backup of one."""

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """Run `fn` on one snapshot, as `contract.Store.read` does."""

    def check(self) -> Iterator[str]:
        """Let the engine search its own files for damage. Gives one line per finding."""


class Maintenance(Auditable, Protocol):
    """The maintenance of one store. Except for `begin_restore`, nothing in it changes the store."""

    def is_backup(self) -> bool:
        """Tell whether this is a backup, in which no service has ever written anything."""

    def back_up(self, file: Path, on_progress: OnProgress) -> None:
        """Copy everything, as it is at one moment not before the call, into an empty file.

        Writers continue meanwhile. Raises StoreUnavailable if the copy fails. In this case `file`
        contains a part of the copy.
        """

    def open_backup(self, file: Path) -> AbstractContextManager[Auditable]:
        """Open a backup for reading. No process may write to `file` meanwhile."""

    def begin_restore(self, *, force: bool) -> AbstractContextManager["Restore"]:
        """Begin to put a backup in the place of the store. No process can start to write meanwhile.

        Raises FileRefused if a process has the store open, or if there is a store and `force` is
        not given. Raises StoreRefused if the store cannot be locked in time.
        """

    def close(self) -> None:
        """Close every file."""


class Restore(Protocol):
    """A backup on its way into the place of a store."""

    def copy_backup(self, backup: Path, on_progress: OnProgress) -> None:
        """Copy a backup beside the store, and bring the schema of this copy up to date.

        Raises FileRefused if this release cannot serve the backup, and StoreUnavailable if the copy
        fails.
        """

    def open_copy(self) -> AbstractContextManager[Auditable]:
        """Open the copy that `copy_backup` has made, for reading."""

    def put_in_place(self) -> Replaced:
        """Put the copy in the place of the store, durably, and keep the old store elsewhere.

        A process that dies on the way leaves the old store or the new one in place. Raises
        FileRefused if a process has the store open, and StoreUnavailable if this fails. In both
        cases the store is as it was.
        """
