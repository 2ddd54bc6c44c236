"""What was acknowledged with a 201 is on stable storage: it survives a power cut."""

import http.client
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.disks import cut_power, disk_image, powered, serving_in
from tests.support.programs import Program
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.sqlite_only(
    "the power of the disk under a database file is cut; PostgreSQL has its own files"
)

CLIENTS = 8
POWER_CUTS = 2
# How often a client sends an order that was answered with an error, before it sends another one.
ATTEMPTS = 3
TRACED_ORDERS = 20


@promise("a 201 is durable")
@promise("one key, one effect")
@promise("bad days lose nothing")
def test_after_a_power_cut_every_acknowledged_order_is_there_and_none_in_part(
    tmp_path: Path,
) -> None:
    """The file system discards what was not synced, as it does when the power fails."""
    chance = random.Random(60_000)
    acknowledged: dict[str, bytes] = {}
    with disk_image() as image:
        disk = image.with_name("disk")
        disk.mkdir()
        for number in range(POWER_CUTS):
            with (
                powered(image, disk),
                serving_in(disk, tmp_path / f"server-{number}.log") as server,
            ):
                clients = ImpatientClients(server, f"cut-{number}")
                wait_until(lambda: len(clients.acknowledged) > CLIENTS)  # noqa: B023 - ends here
                time.sleep(chance.uniform(0.0, 0.3))
                # The answers are copied before the cut, because a sync during this simulated cut
                # may report success. A sync during a real power cut reports nothing.
                acknowledged |= dict(clients.acknowledged)
                cut_power(disk)
                clients.stop()
        with powered(image, disk), serving_in(disk, tmp_path / "server.log") as server:
            for key, body in list(acknowledged.items())[-CLIENTS:]:
                assert server.order(key).body == body
            assert assert_exactly_once(server.engine, acknowledged) >= len(acknowledged)


@promise("a 201 is durable")
def test_no_201_leaves_before_the_fsync_of_its_commit(
    server: Server, program: Program, tmp_path: Path
) -> None:
    """The system calls of the workers show the order: the WAL is written, synced, and answered."""
    trace = tmp_path / "trace"
    server.order("before")
    with traced(program("strace", "strace"), server.workers(), trace):
        for number in range(TRACED_ORDERS):
            assert server.order(f"traced-{number}").status == 201
    calls = calls_before_each_201(trace.read_text())
    # A worker's first commit also syncs the WAL that it has found, and writes the WAL's header.
    assert [found[-2:] for found in calls] == [["write", "sync"]] * TRACED_ORDERS


class ImpatientClients:
    """Clients that send new orders, and retry a failed one at once, until they are stopped."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self._server = server
        self._prefix = prefix
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more orders, and wait until the last request of each client has ended."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, number: int) -> None:
        turn = 0
        while not self._is_over.is_set():
            self._order(f"{self._prefix}-{number}-{turn}")
            turn += 1

    def _order(self, key: str) -> None:
        for _ in range(ATTEMPTS):
            with suppress(OSError, http.client.HTTPException):
                answer = self._server.order(key)
                if answer.status == 201:
                    self.acknowledged[key] = answer.body
                    return


@contextmanager
def traced(strace: str, processes: list[int], trace: Path) -> Iterator[None]:
    """Write the system calls of processes to the file `trace` until the block ends.

    Skips the test if this machine does not allow that.
    """
    calls = "pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg"
    command = [strace, "-f", "-y", "-s", "32", "-o", str(trace), "-e", f"trace={calls}"]
    for process in processes:
        command += ["-p", str(process)]
    tracing = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: tracing.poll() is not None or all(map(is_traced, processes)))
        if tracing.poll() is not None:
            assert tracing.stderr is not None
            pytest.skip(f"cannot trace processes here: {tracing.stderr.read().strip()}")
        yield
    finally:
        if tracing.poll() is None:
            tracing.send_signal(signal.SIGINT)
        tracing.wait()


def is_traced(process: int) -> bool:
    """Tell whether every thread of a process has a tracer."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)


def calls_before_each_201(trace: str) -> list[list[str]]:
    """Give the calls on the WAL between one 201 and the next, without repetitions.

    A sync counts when it has returned. A write and an answer count when they begin.
    """
    found: list[list[str]] = []
    since: list[str] = []
    syncing: set[str] = set()
    for line in trace.splitlines():
        thread, call = line.split(maxsplit=1)
        is_sync = re.match(r"f(data)?sync\(\d+<[^>]*-wal>", call) is not None
        if is_sync and "<unfinished" in call:
            syncing.add(thread)
        elif (is_sync and call.endswith("= 0")) or (
            re.match(r"<\.\.\. f(data)?sync resumed>.*= 0$", call) and thread in syncing
        ):
            syncing.discard(thread)
            since += ["sync"] * (since[-1:] != ["sync"])
        elif re.match(r"pwrite64\(\d+<[^>]*-wal>", call):
            since += ["write"] * (since[-1:] != ["write"])
        elif "HTTP/1.1 201" in call:
            found.append(since)
            since = []
    return found
