"""`backup`: a copy of the store while it is being served, proven before it has its name."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from orderapi.durable import sync_directory
from orderapi.errors import FileRefused
from orderapi.ops.audit import audit
from orderapi.store.maintenance import Auditable, Maintenance

# One for each directory: what a killed backup has left there is taken over by the next one.
PARTIAL_NAME = "orderapi-backup.partial"
COPYING, AUDITING = "copying", "auditing"

# Called with a stage, what is done of it, and how much there is.
OnProgress = Callable[[str, int, int], None]


def backup(
    maintenance: Maintenance,
    file: Path,
    on_progress: OnProgress,
    on_finding: Callable[[str], None],
) -> bool:
    """Write a backup of a store to `file`, and tell whether it is there now.

    It is of one moment, not before the call. It is written beside `file` under another name,
    synced and audited; if the audit finds nothing, it gets its name, in one step and durably. So
    `file` is whole and proven, or it is not there, whatever dies or fails on the way.

    `on_progress(stage, done, total)` counts the engine's units, then orders. Raises FileRefused if
    `file` exists or cannot be made; StoreUnavailable if the copy fails; OSError if the disk does.
    """
    if os.path.lexists(file):
        raise FileRefused(f"{file} is there already")
    with _partial_file(file.parent) as (path, descriptor):
        maintenance.back_up(path, partial(on_progress, COPYING))
        os.fsync(descriptor)
        with maintenance.backup_in(path) as copy:
            if not is_sound(copy, on_progress, on_finding):
                return False
        _give_name(path, file)
    return True


def is_sound(copy: Auditable, on_progress: OnProgress, on_finding: Callable[[str], None]) -> bool:
    """Audit a copy of a store, and tell whether nothing was found."""
    found = 0
    for finding in audit(copy, partial(on_progress, AUDITING)):
        on_finding(finding)
        found += 1
    return not found


@contextmanager
def _partial_file(directory: Path) -> Iterator[tuple[Path, int]]:
    """Give an empty file that is nobody else's; nothing of its name is there afterwards."""
    path = directory / PARTIAL_NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise FileRefused(f"cannot write {path}: {error.strerror}") from error
    try:
        _take_over(path, descriptor)
        try:
            yield path, descriptor
        finally:
            path.unlink()
    finally:
        os.close(descriptor)


def _take_over(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Opened just before another backup gave this file its name, it is that one's, and finished.
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError
    except (BlockingIOError, FileNotFoundError) as error:
        raise FileRefused(f"another backup is being written in {path.parent}") from error
    os.ftruncate(descriptor, 0)


def _give_name(path: Path, file: Path) -> None:
    try:
        # A rename would replace what somebody has put there meanwhile.
        os.link(path, file)
    except FileExistsError as error:
        raise FileRefused(f"{file} is there already") from error
    sync_directory(file.parent)
