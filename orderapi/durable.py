"""What makes a file's name, not only its content, survive a power cut."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Put a directory's entries on stable storage; the files themselves are another matter."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
