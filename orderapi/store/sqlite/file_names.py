"""Whether SQLite finds the WAL of a database: it looks for the WAL by the name of the database.

Two processes that use one database under two names, or through two directories, have two WALs and
two locks. Each of them then overwrites what the other has committed.
"""

import os
import re
import stat
from pathlib import Path

# What SQLite keeps beside a database, under its name and one of these suffixes. The journal exists
# only after a crash outside of WAL mode.
SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")
# What this service keeps beside a database: the lock between processes.
LOCK_SUFFIX = "-lock"

# A restore gives the old database a second name of this form. A restore that is killed leaves it.
_KEPT = re.compile(r"-replaced-\d{8}T\d{6}\.\d{6}Z")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def why_misplaced(path: Path) -> str | None:
    """Say in one line why the database at `path` must not be used there, or None if it may.

    `path` must not contain symbolic links.
    """
    try:
        status = path.stat()
    except OSError:
        return None  # Others say in more detail that the file is missing.
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a file"
    return why_mounted(path) or why_linked(path, status)


def why_mounted(path: Path) -> str | None:
    """Say in one line that a file of the database is a mount point, or None if none is.

    The table of mounts says so. The device numbers do not: on an overlay of two file systems, a
    file and its directory have different device numbers although nothing is mounted on the file.
    """
    mounted = _mount_points()
    for name in (path, *(side_file(path, suffix) for suffix in (*SQLITE_SUFFIXES, LOCK_SUFFIX))):
        if os.fsencode(name) in mounted:
            return (
                f"{name} is a mount point; mount the directory {path.parent} instead of the file,"
                " because the WAL and the lock must be beside the database"
            )
    return None


def why_linked(path: Path, status: os.stat_result) -> str | None:
    """Say in one line that a database has other names (hard links), or None if it has one name.

    `status` is what `os.stat` gives for `path`.
    """
    if status.st_nlink == 1 or status.st_nlink == 1 + len(_names_kept_by_restore(path)):
        return None
    return (
        f"{path} has {status.st_nlink} names (hard links), and each name has a WAL and a lock of"
        " its own; delete the other names, or use a copy of the file"
    )


def forget_unfinished_restore(path: Path) -> None:
    """Delete the second names that a killed restore has left of a database that is still in place.

    To be called under the lock between processes, which a restore holds until its end.
    """
    for kept in _names_kept_by_restore(path):
        names = [
            (side_file(kept, suffix), side_file(path, suffix)) for suffix in (*SQLITE_SUFFIXES, "")
        ]
        # If one of these files has no other name, the database is complete only with it.
        if all(_is_same_file(other, mine) for other, mine in names if other.exists()):
            for other, _ in names:
                other.unlink(missing_ok=True)


def side_file(path: Path, suffix: str) -> Path:
    """Return the path of a file beside a database: the path of the database with a suffix."""
    return path.with_name(path.name + suffix)


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, or 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _names_kept_by_restore(path: Path) -> list[Path]:
    return [
        other
        for other in path.parent.glob(f"{_escape_glob(path.name)}-replaced-*Z")
        if _KEPT.fullmatch(other.name.removeprefix(path.name)) and _is_same_file(other, path)
    ]


def _escape_glob(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _mount_points() -> set[bytes]:
    """Return the mount points of this process (proc(5), /proc/pid/mountinfo, field 5)."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return set()
    return {
        _ESCAPED.sub(lambda octal: bytes([int(octal[1], 8)]), line.split(b" ")[4]) for line in lines
    }
