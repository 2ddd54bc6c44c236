"""A copy of a SQLite database, page by page, while other processes write to it."""

import os
from contextlib import closing
from pathlib import Path

from orderapi.errors import StoreUnavailable
from orderapi.store.maintenance import OnProgress
from orderapi.store.sqlite.checkpoint import WAL_MAX_BYTES
from orderapi.store.sqlite.connection import Connection

# Progress is reported after this many pages: 4 MiB, with pages of the usual size.
_PAGES_PER_STEP = 1_024
# A copy that filled the disk would stop the service too, because the WAL may need this much.
_FREE_MIN_BYTES = WAL_MAX_BYTES


def copy(source: Connection, target: Path, on_progress: OnProgress) -> None:
    """Copy what `source` sees, in the transaction that it is in, into the empty file `target`.

    All of it is one snapshot. Without a snapshot that is held, SQLite would start its copy again
    whenever another process writes between two steps. While the snapshot is held, the WAL cannot be
    reset, and it grows by what is written meanwhile. Therefore nothing but the copy is made under
    it, as fast as the disk allows. (`VACUUM INTO` would hold the snapshot until it has built every
    index again.)

    `on_progress(done, total)` counts pages. Raises StoreUnavailable if there is not enough room.
    """
    # The snapshot begins with the first statement that reads.
    size_bytes = source.size_bytes()
    _refuse_without_room(target.parent, size_bytes)
    with closing(Connection(target, "rw")) as copied:
        # Nobody reads the file before it is complete, so no part of it must ever be rolled back.
        copied.execute("PRAGMA journal_mode = OFF")
        source.backup(
            copied,
            pages=_PAGES_PER_STEP,
            progress=lambda _, left, total: on_progress(total - left, total),
        )


def _refuse_without_room(directory: Path, size_bytes: int) -> None:
    status = os.statvfs(directory)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < size_bytes + _FREE_MIN_BYTES:
        raise StoreUnavailable(
            f"no room in {directory}: {_mib(size_bytes)} for the copy and {_mib(_FREE_MIN_BYTES)}"
            f" to spare are needed, {_mib(free_bytes)} are free"
        )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
