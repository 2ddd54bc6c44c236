"""Replaces one database file by another one, in steps at each of which the process may die."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from orderapi import exclusive_name
from orderapi.durable import sync_directory
from orderapi.errors import FileRefused
from orderapi.store.sqlite.file_names import SQLITE_SUFFIXES, side_file, size_of
from orderapi.store.sqlite.lock_file import owner_of

# Bytes of the database file (sqlite.org/fileformat2.html, "the lock-byte page"). In WAL mode, a
# connection holds a shared lock on some of these bytes, from its first statement until its end.
_LOCK_BYTES = (2**30, 512)
# Bytes of the index of the WAL (sqlite.org/walformat.html, "WAL locks"). Every process that has the
# index open locks the last one of them, also after the database was moved or deleted.
_WAL_INDEX_LOCK_BYTES = (120, 9)
# A WAL without a valid header and without a frame. SQLite treats it as empty.
_VOID_WAL = bytes(32)


@contextmanager
def hold_exclusively(path: Path) -> Iterator[None]:
    """Hold a database that no process has open, and that no process can open meanwhile.

    This takes the locks by which the connections of SQLite know of each other, in any program. An
    idle or stopped process holds them too. This process must have no connection to the database,
    because the end of the block drops the locks of such a connection.

    Raises FileRefused if a process has the database open.
    """
    with ExitStack() as held:
        for file, lock_bytes in (
            (path, _LOCK_BYTES),
            (side_file(path, "-shm"), _WAL_INDEX_LOCK_BYTES),
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


def refuse_opened(path: Path) -> None:
    """Raise FileRefused if a process has the database open now, as `hold_exclusively` does."""
    with hold_exclusively(path):
        pass


def hand_over(new: Path, path: Path) -> None:
    """Give `new` the owner and the mode of the database at `path`, and put it on stable storage.

    If there is no database, `new` gets the owner of the directory.
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
    """Put `new` in the place of the database at `path`. Returns the new path of the old database.

    The caller holds the database exclusively. Where the file system has hard links, a database
    without a WAL is replaced in one step. In the other cases the old database is taken away first.
    These cases are a file system without hard links, and a WAL that could not be checkpointed
    because of damage. A WAL stays until the last step and is then made void, because a WAL that is
    left over would be applied to the new database. A process that dies in between leaves a WAL
    without a database, which a start refuses. The old database is complete under its other name.
    Returns None if there was no database.
    """
    kept_as = side_file(path, f"-replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    has_remains = _has_frames(path) or side_file(path, "-journal").exists()
    is_kept = has_remains or path.exists()
    is_linked = _keep(path, kept_as)
    if is_kept and (has_remains or not is_linked):
        _take_away(path, kept_as, is_linked=is_linked)
    new.replace(path)
    sync_directory(path.parent)
    return kept_as if is_kept else None


def _keep(path: Path, kept_as: Path) -> bool:
    """Give the database and each file beside it a second name, so that it is always complete.

    Returns False if the file system has no hard links. Then the WAL and the journal are copied, and
    the database still has one name.
    """
    suffixes = (*SQLITE_SUFFIXES, "") if _has_frames(path) else ("-journal", "")
    is_linked = True
    for suffix in suffixes:
        file, second = side_file(path, suffix), side_file(kept_as, suffix)
        if file.exists() and not exclusive_name.link(file, second):
            is_linked = False
            # The index of the WAL is not copied. SQLite rebuilds it, and closing a descriptor of it
            # would release the lock that `hold_exclusively` holds on it.
            if suffix in ("-wal", "-journal"):
                shutil.copyfile(file, second)
                hand_over(second, file)
    sync_directory(path.parent)
    return is_linked


def _has_frames(path: Path) -> bool:
    return size_of(side_file(path, "-wal")) > len(_VOID_WAL)


def _take_away(path: Path, kept_as: Path, *, is_linked: bool) -> None:
    """Take the database away, and each file that SQLite would apply to the new database."""
    if not _has_frames(path):
        # From the moment at which there is no database, a start must be refused.
        _put_void_wal(path, kept_as)
    if is_linked:
        path.unlink(missing_ok=True)
    elif path.exists():
        exclusive_name.move(path, kept_as)
    sync_directory(path.parent)
    # The void WAL stays. The first process that opens the new database uses it, so it must not
    # be deleted afterwards.
    _put_void_wal(path, kept_as)
    side_file(path, "-shm").unlink(missing_ok=True)
    side_file(path, "-journal").unlink(missing_ok=True)
    sync_directory(path.parent)


def _put_void_wal(path: Path, kept_as: Path) -> None:
    void = side_file(path, "-restoring-void")
    void.write_bytes(_VOID_WAL)
    hand_over(void, kept_as if kept_as.exists() else path)
    void.replace(side_file(path, "-wal"))
    sync_directory(path.parent)
