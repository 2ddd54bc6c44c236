"""Disks that refuse every write while the service runs, or before it starts."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.client_crowd import assert_reads_go_on
from tests.support.disks import disk_image, mounted, serving_in
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.sqlite_only("the disk under a database file is what becomes read-only")


def fail_file_system(disk: Path) -> None:
    """Let the kernel find an error in the ext4 on `disk`, so that it remounts it read-only."""
    (device,) = [
        line.split()[0]
        for line in Path("/proc/mounts").read_text().splitlines()
        if line.split()[1] == str(disk)
    ]
    trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
    if not trigger.exists():
        pytest.skip("this kernel has no way to make an ext4 fail")
    trigger.write_text("made by a test\n")


def assert_replayed(server: Server, key: str, body: bytes) -> None:
    replay = server.order(key)
    assert (replay.status, replay.body) == (201, body)
    assert replay.headers["idempotent-replayed"] == "true"


@promise("bad days lose nothing")
def test_reads_and_replays_go_on_when_the_disk_becomes_read_only() -> None:
    with disk_image() as image:
        disk = image.parent / "disk"
        disk.mkdir()
        with (
            mounted("-o", "loop,errors=remount-ro", image, disk),
            serving_in(disk, image.parent / "server.log") as server,
        ):
            first = server.order("first")
            fail_file_system(disk)
            for _ in range(2):
                for number in range(5):
                    assert server.order(f"refused-{number}").status == 503
                    assert_replayed(server, "first", first.body)
                assert_reads_go_on(server, "first", first.body, first.headers["location"])
                # New workers open everything again, on a disk that is read-only already.
                before = server.workers()
                for worker in before:
                    os.kill(worker, signal.SIGKILL)
                wait_until(lambda before=before: not set(before) & set(server.workers()))  # type: ignore[misc]
            assert_exactly_once(server.engine, {"first": first.body})


@promise("bad days lose nothing")
def test_a_service_that_starts_on_a_full_disk_serves_reads_and_replays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=2m", "none", disk):
        with serving_in(disk, tmp_path / "before.log") as server:
            first = server.order("first")
            server.stop()
        assert not server.database.with_name("orders.db-wal").exists()
        with pytest.raises(OSError, match="No space"):
            fill(disk / "filling")
        with serving_in(disk, tmp_path / "server.log") as server:
            assert server.order("refused").status == 503
            assert_replayed(server, "first", first.body)
            assert_reads_go_on(server, "first", first.body, first.headers["location"])
            (disk / "filling").unlink()
            made = server.order("refused")
            assert made.status == 201
            assert_exactly_once(server.engine, {"first": first.body, "refused": made.body})


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1_024))
