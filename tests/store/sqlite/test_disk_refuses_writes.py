"""Reads succeed while the file can be read. No read needs a write, an fsync or a new file.

Each case opens a new connection, as a worker does that has just started. There are two states in
which a service may have left its files: it was stopped, or it was killed and has left a WAL.
"""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.store.sqlite.store import SqliteStore
from tests.support.disks import disk_image, mounted
from tests.support.placing import place
from tests.support.promises import promise
from tests.support.running import REPOSITORY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to spoil a disk")

NOBODY = 65_534
SPOILING: dict[str, Callable[[Path], None]] = {}


def spoils(name: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register a way to make a disk refuse every write to the database at a path."""

    def register(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
        SPOILING[name] = spoil
        return spoil

    return register


@contextmanager
def small_disk() -> Iterator[Path]:
    """Give a directory that every user can reach, on an ext4 of 32 MiB."""
    with disk_image() as image:
        disk = image.parent / "disk"
        disk.mkdir()
        with mounted("-o", "loop", image, disk):
            disk.chmod(0o777)
            yield disk


@spoils("full")
def fill(database: Path) -> None:
    for name, step_bytes in (("filling", 65_536), ("rest", 1_024)):
        with pytest.raises(OSError, match="No space"):
            write_without_end(database.parent / name, step_bytes)


def write_without_end(path: Path, step_bytes: int) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(step_bytes))


@spoils("read-only")
def remount(database: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(database.parent)], check=True)


@spoils("immutable file")
def make_immutable(database: Path) -> None:
    subprocess.run(["chattr", "+i", str(database)], check=True)


@spoils("closed directory")
def close_directory(database: Path) -> None:
    database.parent.chmod(0o555)


def leave_a_wal(database: Path) -> None:
    """Place an order as a process that is killed before its next checkpoint."""
    pid = os.fork()
    if pid == 0:
        place(SqliteStore(database), "in the WAL")
        os._exit(0)
    os.waitpid(pid, 0)


def seen_by_nobody(database: Path) -> str:
    """Read and write with a new connection, as a user to whom permissions apply."""
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from orderapi.errors import StoreUnavailable\n"
        "from orderapi.store.sqlite.store import SqliteStore\n"
        "from tests.support.placing import place\n"
        "store = SqliteStore(Path(sys.argv[1]))\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for key in ('stopped', 'in the WAL'):\n"
        "    print(store.read(lambda tx: tx.keys.find_claim('public', key)) is not None)\n"
        "print(store.read(lambda tx: tx.events.last_sequence()))\n"
        "try:\n    place(store, 'refused', deadline=time.monotonic() + 2)\n"
        "except StoreUnavailable:\n    print('unavailable')\n"
        "store.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(database)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@promise("bad days lose nothing")
@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("kind", SPOILING)
def test_a_new_connection_reads_a_disk_that_refuses_every_write(
    kind: str, *, is_killed: bool
) -> None:
    with small_disk() as disk:
        database = disk / "orders.db"
        with closing(SqliteStore(database)) as store:
            store.prepare()
            place(store, "stopped")
        if is_killed:
            leave_a_wal(database)
        for file in disk.glob("orders.db*"):
            os.chown(file, NOBODY, NOBODY)
        SPOILING[kind](database)
        try:
            seen = seen_by_nobody(database).splitlines()
        finally:
            subprocess.run(["chattr", "-i", str(database)], check=False, capture_output=True)
    assert seen[:3] == ["True", str(is_killed), str(1 + is_killed)]
    # In a closed directory, an existing WAL can still be written.
    assert seen[3:] == ["unavailable"] or (kind == "closed directory" and is_killed)


def test_a_new_connection_reads_a_disk_that_refuses_every_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "orders.db"
    SqliteStore(database).prepare()
    leave_a_wal(database)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    with closing(SqliteStore(database)) as store:
        assert store.read(lambda tx: tx.keys.find_claim("public", "in the WAL")) is not None
        with pytest.raises(StoreUnavailable) as refused:
            place(store, "refused")
    assert refused.value.reason == f"WAL: {os.strerror(errno.EIO)}"


@promise("bad days lose nothing")
def test_a_start_on_a_full_disk_reads_and_sees_what_is_written_once_there_is_room(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    database = disk / "orders.db"
    with mounted("-t", "tmpfs", "-o", "size=2m", "none", disk):
        with closing(SqliteStore(database)) as store:
            store.prepare()
            place(store, "before")
        fill(database)
        with closing(SqliteStore(database)) as store:
            store.prepare()
            assert store.read(lambda tx: tx.events.last_sequence()) == 1
            with pytest.raises(StoreUnavailable):
                place(store, "refused")
            subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
            for number in range(3):
                with closing(SqliteStore(database)) as other:
                    place(other, f"{number}")
                assert store.read(lambda tx: tx.events.last_sequence()) == number + 2
            assert not place(store, "refused").replayed


def test_a_first_start_on_a_full_disk_says_so_in_one_line() -> None:
    with tempfile.TemporaryDirectory() as name:
        disk = Path(name)
        with mounted("-t", "tmpfs", "-o", "size=1m", "none", disk):
            fill(disk / "orders.db")
            with pytest.raises(StoreRefused) as refused:
                SqliteStore(disk / "orders.db").prepare()
            line = str(refused.value)
    assert "\n" not in line
    assert "full" in line or "No space left" in line
