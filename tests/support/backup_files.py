"""Databases, their backups, and the commands, as operators run them."""

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from orderapi.ops.audit import audit
from orderapi.settings import SqliteUrl
from orderapi.store.maintenance import Maintenance
from orderapi.store.open import open_maintenance
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place
from tests.support.rows import query
from tests.support.running import REPOSITORY, environ_with

ORDERAPI = str(Path(sys.executable).parent / "orderapi")


def orderapi(
    *arguments: str | Path, database: Path, **popen: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command on a database, in a process of its own."""
    return _run([ORDERAPI], arguments, database, popen)


def orderapi_without(
    lacking: str, *arguments: str | Path, database: Path
) -> "subprocess.CompletedProcess[str]":
    """Run a command as on a file system that lacks something; see `tests.support.without_links`."""
    command = [sys.executable, "-m", "tests.support.without_links", lacking]
    return _run(command, arguments, database, {"cwd": REPOSITORY})


def _run(
    command: list[str], arguments: Iterable[str | Path], database: Path, popen: dict[str, Any]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*command, *map(str, arguments), "--database", f"sqlite:///{database}"],
        env=environ_with(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **popen,
    )


def backed_up(database: Path, file: Path) -> Path:
    done = orderapi("backup", file, database=database)
    assert done.returncode == 0, done.stderr
    return file


def with_orders(path: Path, *keys: str) -> Path:
    """Make the database, or open it, and place orders."""
    with closing(SqliteStore(path)) as store:
        store.prepare()
        for key in keys:
            place(store, key)
    return path


def left_by_a_kill(path: Path, *keys: str) -> Path:
    """Place orders in a database. They are only in its WAL, as after the kill of a process."""
    living = path.with_name("living.db")
    path.rename(living)
    with closing(SqliteStore(living)) as store:
        for key in keys:
            place(store, key)
        store.write(lambda tx: tx.probe.touch())
        shutil.copy(living, path)
        shutil.copy(f"{living}-wal", f"{path}-wal")
    for file in path.parent.glob("living.db*"):
        file.unlink()
    return path


def keys_in(path: Path) -> set[str]:
    return {key for (key,) in query(path, "SELECT idempotency_key FROM idempotency_keys")}


def findings(path: Path) -> list[str]:
    """Return the findings of the audit in a file that no process writes."""
    with closing(maintenance_of(path)) as maintenance, maintenance.open_backup(path) as copy:
        return list(audit(copy, lambda _done, _total: None))


def maintenance_of(path: Path) -> Maintenance:
    return open_maintenance(SqliteUrl(path))


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files of a directory, except for locks, WAL indexes and empty WALs."""
    return {
        file.name: file.read_bytes()
        for file in directory.iterdir()
        if file.is_file() and not file.name.endswith(("-lock", "-shm"))
        if file.stat().st_size or not file.name.endswith("-wal")
    }


def limit_file_size() -> None:
    """Make this process fail to write a file longer than 40 kB, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
