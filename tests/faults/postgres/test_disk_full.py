"""The disk of a PostgreSQL server is full. No order exists in part, and orders succeed later."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.support.client_crowd import (
    ANSWERED_WITHIN_S,
    assert_created_or_unavailable,
    assert_reads_go_on,
    retried,
)
from tests.support.disks import mounted
from tests.support.engines import PostgresEngine
from tests.support.postgres import PostgresServer, owned, postgres_server, server_directory
from tests.support.promises import promise
from tests.support.proof import assert_exactly_once_in
from tests.support.running import Server, serving
from tests.support.waiting import awake_s, wait_until

LARGE_ORDER = {"customer_id": "c" * 128, "item_id": "i" * 128, "quantity": 1}


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Give a directory of the servers' user on a file system of this size."""
    with server_directory() as directory:
        disk = directory / "disk"
        disk.mkdir()
        with mounted("-t", "tmpfs", "-o", f"size={size}", "none", disk):
            yield owned(disk)


def enlarge(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def fill(server: Server) -> tuple[dict[str, bytes], str]:
    """Place orders until one is refused. Gives the answers by key, and the key that was refused."""
    made: dict[str, bytes] = {}
    for number in range(50_000):
        key = f"filling-{number}"
        started = awake_s()
        answer = server.order(key, LARGE_ORDER)
        assert awake_s() - started <= ANSWERED_WITHIN_S
        assert_created_or_unavailable(answer)
        if answer.status == 503:
            return made, key
        made[key] = answer.body
    raise AssertionError("the disk never became full")


@promise("bad days lose nothing")
@promise("a failure is not remembered")
def test_a_full_disk_of_the_tables_refuses_whole_orders_until_there_is_room(tmp_path: Path) -> None:
    """The server answers 53100 (disk full). It still runs, and reads and replays succeed."""
    with small_disk("12m") as disk, postgres_server() as postgres:
        postgres.query(f"CREATE TABLESPACE small LOCATION '{disk}'")
        engine = PostgresEngine(tmp_path, postgres, "TABLESPACE small")
        with serving(tmp_path, engine, LOG_LEVEL="warning") as server:
            first = server.order("first")
            made, refused = fill(server)
            made["first"] = first.body
            server.wait_for_log("53100")
            assert_reads_go_on(server, "first", first.body, first.headers["location"])
            assert assert_exactly_once_in(engine.query, made) == len(made)
            enlarge(disk, "64m")
            assert server.order(refused, LARGE_ORDER).status == 201
            made |= retried(server, ["another"])
            assert assert_exactly_once_in(engine.query, made) == len(made) + 1
        engine.remove()


@promise("bad days lose nothing")
@promise("a 201 is durable")
def test_a_full_disk_of_the_log_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """PostgreSQL itself ends (PANIC), so reads fail too. It starts again when there is space."""
    with small_disk("12m") as disk, postgres_server(max_wal_size="512MB") as postgres:
        move_log(postgres, disk)
        engine = PostgresEngine(tmp_path, postgres)
        with serving(tmp_path, engine, LOG_LEVEL="warning") as server:
            made, refused = fill(server)
            assert len(made) > 100
            enlarge(disk, "128m")
            start_if_it_has_ended(postgres)
            made |= retried(server, ["another"])
            assert server.order(refused, LARGE_ORDER).status == 201

            def query(sql: str) -> list[tuple[Any, ...]]:
                return postgres.query(sql, database=engine.database)

            assert assert_exactly_once_in(query, made) == len(made) + 1


def start_if_it_has_ended(postgres: PostgresServer) -> None:
    """Wait until a crashed server serves again. Start it if its recovery has found no space."""
    process = postgres.process
    assert process is not None

    def serves_or_has_ended() -> bool:
        with suppress(psycopg.OperationalError):
            return postgres.query("SELECT 1") == [(1,)]
        return process.poll() is not None

    wait_until(serves_or_has_ended, "a server that has recovered")
    if process.poll() is not None:
        postgres.start()


def move_log(postgres: PostgresServer, disk: Path) -> None:
    """Put the directory pg_wal of a server on another disk."""
    postgres.stop()
    log = postgres.data / "pg_wal"
    subprocess.run(["cp", "--archive", f"{log}/.", str(disk)], check=True)
    subprocess.run(["rm", "-r", str(log)], check=True)
    log.symlink_to(disk)
    postgres.start()
