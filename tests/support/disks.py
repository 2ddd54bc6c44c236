"""File systems of their own for databases, so that a test can fill, freeze or cut them off."""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.running import Server
from tests.support.waiting import wait_until

# From linux/fs.h and ext4.h: FS_IOC_SHUTDOWN, and EXT4_GOING_FLAGS_NOLOGFLUSH.
_FS_IOC_SHUTDOWN = 0x8004587D
_DISCARD_THE_JOURNAL = 2


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    """Mount a file system on the last argument until the block ends, or skip the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a file system")
    command = ["mount", *map(str, arguments)]
    mounting = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounting.returncode != 0:
        pytest.skip(f"cannot mount here: {mounting.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(arguments[-1])], check=True)


@contextmanager
def directory_with_a_disk() -> Iterator[Path]:
    """Give a directory that every user can reach, with an ext4 of 32 MiB mounted at `disk`."""
    with disk_image() as image:
        directory = image.parent
        (directory / "disk").mkdir()
        with mounted("-o", "loop", image, directory / "disk"):
            yield directory


@contextmanager
def disk_image() -> Iterator[Path]:
    """Give a file that contains an ext4 of 32 MiB, in a directory that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        image = directory / "image"
        with image.open("wb") as file:
            file.truncate(32 * 1024 * 1024)
        if not shutil.which("mkfs.ext4") or not shutil.which("fsfreeze"):
            pytest.skip("needs mkfs.ext4 and fsfreeze")
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        yield image


@contextmanager
def powered(image: Path, disk: Path) -> Iterator[None]:
    """Mount an image on the directory `disk`, and unmount it once no process uses it."""
    with mounted("-o", "loop", image, disk):
        yield
        # A second mount of the same image must not meet the first one.
        wait_until(lambda: not _is_in_use(disk))


def cut_power(disk: Path) -> None:
    """Let the file system that is mounted on `disk` discard all that was not synced.

    Every later operation on it fails. The next mount sees what it would see after a power cut.
    """
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_SHUTDOWN, struct.pack("I", _DISCARD_THE_JOURNAL))
    finally:
        os.close(descriptor)


def _is_in_use(disk: Path) -> bool:
    """Tell whether a process has a file of a mounted file system open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # the process has ended, or has closed the file
            if link.readlink().is_relative_to(disk):
                return True
    return False


@contextmanager
def serving_in(
    directory: Path, log_path: Path, preexec_fn: Callable[[], None] | None = None, **settings: str
) -> Iterator[Server]:
    """Run a server whose log is not in the directory of its database."""
    server = Server(directory, LOG_LEVEL="warning", **settings)
    server.log_path = log_path
    try:
        server.start(preexec_fn=preexec_fn)
        yield server
    finally:
        if server.process is not None:
            server.process.kill()
            server.process.wait()
