"""`backup` copies a store that a service uses. The copy is audited before it gets its name."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from orderapi import exclusive_name
from orderapi.durable import sync_directory
from orderapi.errors import FileRefused
from orderapi.ops.audit import audit
from orderapi.store.maintenance import Auditable, Maintenance

# The name of an unfinished backup. There is one such name in a directory, so that the next backup
# deletes the file that a killed one has left.
PARTIAL_NAME = "orderapi-backup.partial"
# The files that show whether the file system can name a backup. They exist for an instant only.
_PROBE_NAMES = (f"{PARTIAL_NAME}-probe-1", f"{PARTIAL_NAME}-probe-2")

COPYING, AUDITING = "copying", "auditing"

# Called as `on_progress(stage, done, total)`.
OnProgress = Callable[[str, int, int], None]


def backup(
    maintenance: Maintenance,
    file: Path,
    on_progress: OnProgress,
    on_finding: Callable[[str], None],
) -> bool:
    """Write a backup of a store to `file`. Returns False if the audit of the copy has findings.

    The backup shows the store at one moment, which is not before the call. The copy is written
    beside `file` under another name, synced and audited. If the audit has no findings, the copy
    gets its name durably and in one step. Therefore `file` is complete and sound, or it does not
    exist, at whatever moment this process dies or fails.

    `on_progress(stage, done, total)` counts units of the engine, and then orders. Raises
    FileRefused if `file` exists or cannot be made, StoreUnavailable if the copy fails, and OSError
    if the disk fails.
    """
    _refuse_name(file)
    with _make_partial_file(file.parent) as partial_file:
        _refuse_unnameable(file)
        maintenance.back_up(partial_file.path, partial(on_progress, COPYING))
        os.fsync(partial_file.descriptor)
        with maintenance.open_backup(partial_file.path) as copy:
            if not is_sound(copy, on_progress, on_finding):
                return False
        partial_file.move_to(file)
    return True


def is_sound(
    copy: Auditable,
    on_progress: OnProgress,
    on_finding: Callable[[str], None],
    first: str = "",
) -> bool:
    """Audit a copy of a store, and tell whether there was no finding.

    `first` is passed to `audit`.
    """
    found = 0
    for finding in audit(copy, partial(on_progress, AUDITING), first):
        on_finding(finding)
        found += 1
    return not found


def _refuse_name(file: Path) -> None:
    if file.name.startswith(PARTIAL_NAME):
        raise FileRefused(f"{file}: a backup cannot have this name; it is used during each backup")
    try:
        file.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileRefused(f"cannot write {file}: {error.strerror}") from error
    raise FileRefused(f"{file} exists already; a backup replaces nothing")


def _refuse_unnameable(file: Path) -> None:
    """Refuse, before the long copy, a directory in which the copy could not get its name."""
    first, second = (file.with_name(name) for name in _PROBE_NAMES)
    try:
        for probe in (first, second):
            probe.unlink(missing_ok=True)
        first.touch(0o600)
        try:
            exclusive_name.move(first, second)
        finally:
            for probe in (first, second):
                probe.unlink(missing_ok=True)
    except OSError as error:
        raise _refusal_of_directory(file.parent, error) from error


class _PartialFile:
    """An unfinished backup. This process holds a lock on it, so no other backup uses it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def is_ours(self) -> bool:
        """Tell whether the file under this name is still the one that this process has locked."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def move_to(self, file: Path) -> None:
        """Give the file its name durably. Raises FileRefused if this name exists."""
        if not self.is_ours():
            raise FileRefused(f"another process has deleted or replaced {self.path}")
        try:
            exclusive_name.move(self.path, file)
        except FileExistsError as error:
            raise FileRefused(f"{file} exists already; a backup replaces nothing") from error
        sync_directory(file.parent)


@contextmanager
def _make_partial_file(directory: Path) -> Iterator[_PartialFile]:
    """Make an empty file that no other backup uses. It is deleted unless it gets another name."""
    path = directory / PARTIAL_NAME
    try:
        _delete_remains(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise _refusal_of_another_backup(directory) from error
    except OSError as error:
        raise _refusal_of_directory(directory, error) from error
    partial_file = _PartialFile(path, descriptor)
    try:
        _lock(descriptor, directory)
        if not partial_file.is_ours():
            raise _refusal_of_another_backup(directory)
        try:
            yield partial_file
        finally:
            if partial_file.is_ours():
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _delete_remains(path: Path) -> None:
    """Delete the file of a killed backup, if there is one.

    The file is not used again: where a file system has no other way to give a name, it may be a
    second name of a finished backup. Raises FileRefused if another backup is using the file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _lock(descriptor, path.parent)
        if _PartialFile(path, descriptor).is_ours():
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _refusal_of_another_backup(directory) from error


def _refusal_of_directory(directory: Path, error: OSError) -> FileRefused:
    # On a deployed machine, the command runs in another directory than its user is in.
    return FileRefused(f"cannot make a backup in {directory.absolute()}: {error.strerror}")


def _refusal_of_another_backup(directory: Path) -> FileRefused:
    return FileRefused(f"another backup is being written in {directory}")
