"""Put one database file into another's place, whatever dies on the way; no SQL."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from orderapi.durable import sync_directory
from orderapi.errors import FileRefused
from orderapi.store.sqlite.files import beside, size_of
from orderapi.store.sqlite.lock_file import owner_of

# What SQLite keeps beside a database under its name. The journal is there only after a crash
# outside of WAL mode.
SIDE_FILES = ("-wal", "-shm", "-journal")

# Of the database file (sqlite.org/fileformat2.html, "the lock-byte page"). In WAL mode a connection
# holds a shared lock on some of these bytes from its first statement until it is closed.
_LOCK_BYTES = (2**30, 512)
# Of the WAL's index (sqlite.org/walformat.html, "WAL locks"), and the byte after those, which
# whoever has the index open holds: also of a database that was moved or deleted under his hands.
_WAL_INDEX_LOCK_BYTES = (120, 9)
# A WAL without a valid header and without a frame, which SQLite takes for an empty one.
_VOID_WAL = bytes(32)


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Hold a database that nobody has open, and that nobody can open meanwhile.

    It takes the locks by which SQLite's connections know of each other, of whichever program; an
    idle or stopped process holds them too. This process must have no connection to the database:
    the end of this drops its locks. Raises FileRefused if a process has the database open.
    """
    with ExitStack() as held:
        for file, lock_bytes in (
            (path, _LOCK_BYTES),
            (beside(path, "-shm"), _WAL_INDEX_LOCK_BYTES),
        ):
            try:
                descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            held.callback(os.close, descriptor)
            start, length = lock_bytes
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except BlockingIOError as error:
                raise FileRefused(
                    f"a process has {path} open: stop the service first, and whatever else uses it"
                    f" (`fuser {file}` names it)"
                ) from error
        yield


def hand_over(new: Path, path: Path) -> None:
    """Give `new` the owner and mode of the database at `path`, and put it on stable storage.

    If there is none, its owner is that of the directory.
    """
    descriptor = os.open(new, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, *owner_of(path))
        if path.exists():
            os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def swap(path: Path, new: Path) -> Path | None:
    """Put `new` in the place of the database at `path`; give the path that this has now, if any.

    To be called while it is held exclusively. A database without a WAL is replaced in one step. One
    whose WAL could not be taken in, because it is damaged, is taken away first and its WAL made
    void last: a left-over WAL would be applied to the new database. Whoever dies in between leaves
    no database, but a WAL, and a start refuses that; the old one is whole under its other name.
    """
    kept_as = beside(path, f"-replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    has_remains = _has_frames(path) or beside(path, "-journal").exists()
    is_kept = has_remains or path.exists()
    _keep(path, kept_as)
    if has_remains:
        _take_away(path, kept_as)
    new.replace(path)
    sync_directory(path.parent)
    return kept_as if is_kept else None


def _keep(path: Path, kept_as: Path) -> None:
    """Give the database and what is beside it a second name each, so that no moment is without."""
    suffixes = (*SIDE_FILES, "") if _has_frames(path) else ("-journal", "")
    for suffix in suffixes:
        if beside(path, suffix).exists():
            os.link(beside(path, suffix), beside(kept_as, suffix))
    sync_directory(path.parent)


def _has_frames(path: Path) -> bool:
    return size_of(beside(path, "-wal")) > len(_VOID_WAL)


def _take_away(path: Path, kept_as: Path) -> None:
    """Take the database away, and whatever SQLite would apply to another one in its place."""
    if not _has_frames(path):
        # A start must refuse from the moment on at which there is no database.
        _put_void_wal(path, kept_as)
    path.unlink(missing_ok=True)
    sync_directory(path.parent)
    # It stays: the first to open the new database takes it over, which none may do with a file
    # that is about to be deleted.
    _put_void_wal(path, kept_as)
    beside(path, "-shm").unlink(missing_ok=True)
    beside(path, "-journal").unlink(missing_ok=True)
    sync_directory(path.parent)


def _put_void_wal(path: Path, kept_as: Path) -> None:
    void = beside(path, "-restoring-void")
    void.write_bytes(_VOID_WAL)
    hand_over(void, kept_as)
    void.replace(beside(path, "-wal"))
    sync_directory(path.parent)
