"""A copy of a SQLite database, page for page, while others write it."""

import os
from contextlib import closing
from pathlib import Path

from orderapi.errors import StoreUnavailable
from orderapi.store.maintenance import OnProgress
from orderapi.store.sqlite.connection import Connection

# 4 MiB of usual pages between two reports of progress.
_PAGES_PER_STEP = 1_024
# A copy that filled the disk would take the service down with it: what the WAL may need stays free.
_LEFT_FREE_BYTES = 64 * 1024 * 1024


def copy(source: Connection, target: Path, on_progress: OnProgress) -> None:
    """Copy what `source` sees, in the transaction that it is in, into the empty file `target`.

    All of it is one snapshot: SQLite's backup begins anew when another process writes between two
    of its steps, unless a snapshot is held. While it is held, the WAL cannot be reset, and grows by
    what is written meanwhile; so nothing is done under it but to copy, as fast as the disk goes.
    (`VACUUM INTO` would hold it for as long as it takes to build every index again.)

    `on_progress(done, total)` counts pages. Raises StoreUnavailable if there is not enough room.
    """
    # The first reading is what takes the snapshot.
    size_bytes = source.size_bytes()
    _refuse_without_room(target.parent, size_bytes)
    with closing(Connection(target, "rw")) as copied:
        # Nobody looks at the file before it is whole, so nothing needs to be rolled back in it.
        copied.execute("PRAGMA journal_mode = OFF")
        source.backup(
            copied,
            pages=_PAGES_PER_STEP,
            progress=lambda _, left, total: on_progress(total - left, total),
        )


def _refuse_without_room(directory: Path, size_bytes: int) -> None:
    status = os.statvfs(directory)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < size_bytes + _LEFT_FREE_BYTES:
        raise StoreUnavailable(
            f"no room in {directory}: {_mib(size_bytes)} for the copy and {_mib(_LEFT_FREE_BYTES)}"
            f" to spare are needed, {_mib(free_bytes)} are free"
        )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
