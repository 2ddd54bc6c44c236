"""Puts the name of a file on stable storage, so that it survives a power failure."""

import errno
import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Put the entries of a directory on stable storage. This does not include the files' content.

    Some network file systems cannot sync a directory, and report EINVAL. This is no failure: they
    store each entry before they report that it was made. Raises OSError for any other failure.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
