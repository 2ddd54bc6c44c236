"""Gives a file a new name, without replacing a file that already has this name.

No method works on every file system. FAT and some network file systems have no hard links, and NFS
cannot rename without replacing.
"""

import ctypes
import errno
import os
from pathlib import Path

# linux/fcntl.h and linux/fs.h.
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1

# What a system call reports if the kernel or the file system does not have it.
_UNSUPPORTED = (
    errno.EPERM,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EMLINK,
)


def move(path: Path, new: Path) -> None:
    """Rename the file `path` to `new` in one step, unless `new` exists.

    Where the file system cannot do this in one step, the file has both names for a moment. Raises
    FileExistsError if `new` exists, and OSError with the number ENOTSUP if the file system can do
    neither.
    """
    try:
        _rename_without_replacing(path, new)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        if not link(path, new):
            raise OSError(
                errno.ENOTSUP,
                "this file system can neither rename without replacing nor make hard links",
                str(new),
            ) from error
        path.unlink()


def link(path: Path, new: Path) -> bool:
    """Give the file `path` the second name `new`. Returns False where there are no hard links.

    Raises FileExistsError if `new` exists.
    """
    try:
        os.link(path, new)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True


def _rename_without_replacing(path: Path, new: Path) -> None:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library that is older than the system call
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if renameat2(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(new), _RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path), None, str(new))
