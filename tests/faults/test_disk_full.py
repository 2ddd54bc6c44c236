"""Disks that are full, limited or hang: no order exists in part, and orders succeed afterwards."""

import os
import resource
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.client_crowd import (
    Crowd,
    assert_created_or_unavailable,
    assert_reads_go_on,
    retried,
)
from tests.support.disks import directory_with_a_disk, mounted, serving_in
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once
from tests.support.running import Server
from tests.support.waiting import awake_s

pytestmark = pytest.mark.sqlite_only(
    "the disk under a database file is what fails; tests/faults/postgres/ fills other disks"
)

LARGE_ORDER = {"customer_id": "c" * 128, "item_id": "i" * 128, "quantity": 1}
NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def fill(server: Server) -> tuple[dict[str, bytes], str]:
    """Place orders until one is refused. Gives the answers by key, and the key that was refused."""
    made: dict[str, bytes] = {}
    for number in range(20_000):
        key = f"filling-{number}"
        answer = server.order(key, LARGE_ORDER)
        assert_created_or_unavailable(answer)
        if answer.status == 503:
            return made, key
        made[key] = answer.body
    raise AssertionError("the disk never became full")


@promise("bad days lose nothing")
@promise("a failure is not remembered")
def test_a_full_file_system_refuses_whole_orders_until_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        mounted("-t", "tmpfs", "-o", "size=2m", "none", disk),
        serving_in(disk, tmp_path / "server.log") as server,
    ):
        made, refused = made_and_refused(server)
        subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
        works_again(server, made, refused)


@promise("bad days lose nothing")
@promise("a failure is not remembered")
def test_a_file_size_limit_refuses_whole_orders_until_it_is_lifted(tmp_path: Path) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512 * 1024, resource.RLIM_INFINITY))

    with serving_in(tmp_path, tmp_path / "server.log", preexec_fn=limit_file_size) as server:
        made, refused = made_and_refused(server)
        assert server.process is not None
        for pid in (server.process.pid, *server.workers()):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, NO_LIMIT)
        works_again(server, made, refused)


@promise("bad days lose nothing")
def test_a_restart_on_a_full_file_system_goes_on_reading(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        mounted("-t", "tmpfs", "-o", "size=2m", "none", disk),
        serving_in(disk, tmp_path / "server.log") as server,
    ):
        made, refused_key = fill(server)
        key, body = next(iter(made.items()))
        for worker in server.workers():
            os.kill(worker, 9)
        time.sleep(0.5)
        replay = server.order(key, LARGE_ORDER)
        assert (replay.status, replay.body) == (201, body)
        assert_exactly_once(server.engine, made)
        subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
        works_again(server, made, [refused_key])


@promise("bad days lose nothing")
@promise("an error is not a verdict")
def test_no_request_waits_for_a_disk_that_hangs() -> None:
    """The file system is frozen, so that the write of a COMMIT does not return."""
    with (
        directory_with_a_disk() as directory,
        serving_in(directory / "disk", directory / "server.log") as server,
    ):
        first = server.order("first")
        warm_up(server, connections=2)
        subprocess.run(["fsfreeze", "--freeze", str(server.directory)], check=True)
        try:
            crowd = Crowd(server.order, 40, "frozen").start()
            time.sleep(3)
            assert_reads_go_on(server, "first", first.body, first.headers["location"])
            crowd.join(timeout_s=12)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(server.directory)], check=True)
        assert len(crowd.refused) == 40
        # A write that had begun is committed later. The retry replays it.
        made = retried(server, crowd.refused) | {"first": first.body}
        assert_exactly_once(server.engine, made)


def warm_up(server: Server, connections: int) -> None:
    """Let every worker open all the connections that it can use.

    On a frozen file system, root cannot open a connection, because SQLite changes the owner of the
    WAL to that of the database. A reader's mark cannot be moved after a commit either.
    """
    give_up_at = awake_s() + 20
    while min(map(open_connections, server.workers())) < connections:
        assert awake_s() < give_up_at
        prefix = f"warm-{time.monotonic()}"
        Crowd(server.order, 16, prefix, count=2).start().join()
    server.request("GET", "/orders?limit=100")


def open_connections(worker: int) -> int:
    opened = 0
    for link in Path(f"/proc/{worker}/fd").iterdir():
        with suppress(FileNotFoundError):  # The worker has closed it in the meantime.
            opened += link.readlink().name == "orders.db-wal"
    return opened


def made_and_refused(server: Server) -> tuple[dict[str, bytes], list[str]]:
    """Fill the disk, and let 40 clients order. Gives the answers by key, and the refused keys."""
    made, refused_key = fill(server)
    crowd = Crowd(lambda key: server.order(key, LARGE_ORDER), 40, "full", count=2).start().join()
    made |= crowd.created
    key, body = next(iter(made.items()))
    replay = server.order(key, LARGE_ORDER)
    assert (replay.status, replay.body) == (201, body)
    assert replay.headers["idempotent-replayed"] == "true"
    assert server.order(key).status == 409
    assert server.request("GET", replay.headers["location"]).body == body
    assert server.request("GET", "/orders?limit=100").status == 200
    assert_exactly_once(server.engine, made)
    return made, [refused_key, *crowd.refused]


def works_again(server: Server, made: dict[str, bytes], refused: list[str]) -> None:
    """Assert that each refused key now makes one order."""
    answers = {key: server.order(key, LARGE_ORDER) for key in refused}
    assert {answer.status for answer in answers.values()} == {201}
    assert server.request("GET", "/readyz").status == 200
    acknowledged = made | {key: answer.body for key, answer in answers.items()}
    assert assert_exactly_once(server.engine, acknowledged) == len(acknowledged)
