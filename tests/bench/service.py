"""The processes of one contender: how they are started, measured through /proc, and stopped."""

import os
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench import machine
from tests.bench.contenders import Contender, make_database
from tests.support.ports import free_port

# Each table, and a column of it that only grows in the databases of our own service.
TABLES = {
    "orders": "order_id",
    "ledger": "ledger_id",
    "idempotency_keys": "order_id",
    "events": "sequence",
}
_START_MAX_S = 60.0
_STOP_MAX_S = 20.0


class NotServing(Exception):
    """A contender does not serve as it was asked to. The message says which one and why."""


@dataclass(frozen=True)
class Place:
    """The conditions under which a service runs.

    `slow_fsync` is a library that makes each fsync `fsync_ms` milliseconds slower. `cgroup` is the
    directory of a memory cgroup.
    """

    slow_fsync: Path | None = None
    fsync_ms: float = 0.0
    cgroup: Path | None = None


class Service:
    """One contender that serves on `port` and stores its orders in `database`.

    Its processes run on the cores on which the calling process runs.
    """

    def __init__(self, contender: Contender, directory: Path, database: Path, place: Place) -> None:
        self.contender = contender
        self.database = database
        self.port = free_port()
        self.log = directory / f"{contender.id}.log"
        # What wrk sends in the header `Authorization`; no header is sent if it is empty.
        self.authorization = ""
        self._slow_fsync = place.slow_fsync
        # For each table, the value after which `rows` counts.
        self._counted_after: dict[str, object] = {}
        self._process = self._start(place)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of the first process, from which all others descend."""
        return self._process.pid

    def wait_until_serving(self) -> None:
        """Wait until the service answers.

        Raises NotServing if it does not answer in time, or if one of its processes does not use
        the slowed fsync that was asked for.
        """
        self._wait_for_health()
        if self._slow_fsync is not None:
            for pid in machine.tree(self.pid):
                if str(self._slow_fsync) not in Path(f"/proc/{pid}/maps").read_text():
                    raise NotServing(f"{self.contender.name}: process {pid} has the fast fsync")

    def cpu_s(self) -> float:
        """Return the user and system time that all its processes have used so far, in seconds."""
        return machine.cpu_s(self.pid)

    def pss_mib(self) -> float:
        """Return the memory of all its processes in MiB.

        This is the proportional set size: a page that several processes share counts once.
        """
        kib = 0
        for pid in machine.tree(self.pid):
            with suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                lines = [line for line in rollup.splitlines() if line.startswith("Pss:")]
                kib += int(lines[0].split()[1])
        return kib / 1024

    def count_from_now(self) -> None:
        """Make `rows` ignore what is stored already, because to count millions takes minutes."""
        self._counted_after = {
            table: self._query(f"SELECT MAX({column}) FROM {table}")
            for table, column in TABLES.items()
        }

    def rows(self) -> dict[str, int]:
        """Return the number of rows of each table, or of its rows since `count_from_now`."""
        return {table: self._count(table, column) for table, column in TABLES.items()}

    def newest_event(self) -> int:
        """Return the number of the last event, which is also the number of stored orders."""
        return int(str(self._query("SELECT COALESCE(MAX(sequence), 0) FROM events")))

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> None:
        """Stop the service with SIGTERM, and then kill each of its processes that is left."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_MAX_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _start(self, place: Place) -> subprocess.Popen[bytes]:
        start = self.contender.start(self.database, self.port)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("ORDERAPI_")}
        environ |= start.environ
        if place.slow_fsync is not None:
            environ["LD_PRELOAD"] = str(place.slow_fsync)
            environ["BENCH_FSYNC_MS"] = str(place.fsync_ms)

        def enter_cgroup() -> None:
            if place.cgroup is not None:
                (place.cgroup / "cgroup.procs").write_text(str(os.getpid()))

        with self.log.open("wb") as log:
            return subprocess.Popen(
                start.command,
                cwd=start.directory,
                env=environ,
                stdout=log,
                stderr=log,
                preexec_fn=enter_cgroup,
                start_new_session=True,
            )

    def _wait_for_health(self) -> None:
        give_up_at = time.monotonic() + _START_MAX_S
        while time.monotonic() < give_up_at and self._process.poll() is None:
            with (
                suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5),
            ):
                return
            time.sleep(0.05)
        raise NotServing(f"{self.contender.name} does not answer:\n{self.log_tail()}")

    def _count(self, table: str, column: str) -> int:
        after = self._counted_after.get(table)
        if after is None:
            return int(str(self._query(f"SELECT COUNT(*) FROM {table}")))
        return int(str(self._query(f"SELECT COUNT(*) FROM {table} WHERE {column} > ?", after)))

    def _query(self, sql: str, *parameters: object) -> object:
        # The connection may write, because a reader of a rollback journal may have to roll back
        # what a writer has left.
        with closing(sqlite3.connect(self.database, timeout=30)) as db:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            value: object = db.execute(sql, parameters).fetchone()[0]
            return value


@contextmanager
def serving(
    contender: Contender, directory: Path, place: Place, database: Path | None = None
) -> Iterator[Service]:
    """Run a contender until the block ends, on a new database if `database` is not given.

    Raises NotServing if the contender does not serve as `place` asks for.
    """
    new = directory / f"{contender.id}.db"
    if database is None:
        make_database(contender, new)
    service = Service(contender, directory, database or new, place)
    try:
        service.wait_until_serving()
        if database is not None:
            service.count_from_now()
        yield service
    finally:
        service.stop()
