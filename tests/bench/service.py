"""A contender's processes: started on their cores, measured through /proc, and stopped."""

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

from tests.bench.contenders import Contender, make_database
from tests.support.running import REPOSITORY, free_port

# Each table, and its column that only grows in the service's own databases.
TABLES = {
    "orders": "order_id",
    "ledger": "ledger_id",
    "idempotency_keys": "claim_id",
    "events": "sequence",
}
_START_TIMEOUT_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# utime and stime, counted from the field after the command's name in /proc/<pid>/stat (proc(5)).
_TIMES = slice(11, 13)


@dataclass(frozen=True)
class Place:
    """Where and under what a service runs.

    `cores` are the servers', `slow_fsync` the library that makes an fsync take `fsync_ms` longer,
    `cgroup` a directory of a memory cgroup.
    """

    cores: frozenset[int]
    slow_fsync: Path | None = None
    fsync_ms: float = 0.0
    cgroup: Path | None = None


class Service:
    """One contender, serving on `port` out of `database`."""

    def __init__(self, contender: Contender, directory: Path, database: Path, place: Place) -> None:
        self.contender = contender
        self.database = database
        self.port = free_port()
        self.log = directory / f"{contender.letter}.log"
        self._slow_fsync = place.slow_fsync
        # What `rows` leaves out, by table.
        self._counted_after: dict[str, object] = {}
        self._process = self._start(place)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_serving(self) -> None:
        """Wait until it answers; then its disk must also be as slow as it was asked to be."""
        self._wait_for_health()
        if self._slow_fsync is not None:
            for pid in self._tree():
                if str(self._slow_fsync) not in Path(f"/proc/{pid}/maps").read_text():
                    raise RuntimeError(f"{self.contender.name}: process {pid} has the fast fsync")

    def _wait_for_health(self) -> None:
        give_up_at = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up_at and self._process.poll() is None:
            with (
                suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5),
            ):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.contender.name} does not serve:\n{self.log_tail()}")

    def cpu_s(self) -> float:
        """Tell how much processor time all its processes have used."""
        ticks = 0
        for pid in self._tree():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(value) for value in fields[_TIMES])
        return ticks / _TICKS_PER_S

    def pss_mib(self) -> float:
        """Tell its proportional share of memory: shared pages are divided among who shares them."""
        kib = 0
        for pid in self._tree():
            with suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                lines = [line for line in rollup.splitlines() if line.startswith("Pss:")]
                kib += int(lines[0].split()[1])
        return kib / 1024

    def count_from_now(self) -> None:
        """Let `rows` leave out what is stored already: counting millions takes minutes."""
        self._counted_after = {
            table: self._ask(f"SELECT MAX({column}) FROM {table}")
            for table, column in TABLES.items()
        }

    def rows(self) -> dict[str, int]:
        """Count what is stored, or what has been since `count_from_now`."""
        return {table: self._count(table, column) for table, column in TABLES.items()}

    def newest_key(self) -> int:
        """Tell the highest number of a stored key; all after it are new, in any database."""
        return int(str(self._ask("SELECT COALESCE(MAX(claim_id), 0) FROM idempotency_keys")))

    def _count(self, table: str, column: str) -> int:
        after = self._counted_after.get(table)
        if after is None:
            return int(str(self._ask(f"SELECT COUNT(*) FROM {table}")))
        return int(str(self._ask(f"SELECT COUNT(*) FROM {table} WHERE {column} > ?", after)))

    def _ask(self, sql: str, *parameters: object) -> object:
        # Not read-only: a reader of the rollback journal may have to finish what a writer left.
        with closing(sqlite3.connect(self.database, timeout=30)) as db:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            value: object = db.execute(sql, parameters).fetchone()[0]
            return value

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _start(self, place: Place) -> subprocess.Popen[bytes]:
        start = self.contender.start(self.database, self.port)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("ORDERAPI_")}
        environ |= start.environ
        if place.slow_fsync is not None:
            environ["LD_PRELOAD"] = str(place.slow_fsync)
            environ["BENCH_FSYNC_MS"] = str(place.fsync_ms)

        def enter() -> None:
            os.sched_setaffinity(0, place.cores)
            if place.cgroup is not None:
                (place.cgroup / "cgroup.procs").write_text(str(os.getpid()))

        with self.log.open("wb") as log:
            return subprocess.Popen(
                start.command,
                cwd=REPOSITORY,
                env=environ,
                stdout=log,
                stderr=log,
                preexec_fn=enter,
                start_new_session=True,
            )

    def _tree(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += [int(child) for child in (task / "children").read_text().split()]
        return found


@contextmanager
def serving(
    contender: Contender, directory: Path, place: Place, database: Path | None = None
) -> Iterator[Service]:
    """Run a contender until the block ends, on a fresh database if none is given."""
    fresh = directory / f"{contender.letter}.db"
    if database is None:
        make_database(contender, fresh)
    service = Service(contender, directory, database or fresh, place)
    try:
        service.wait_until_serving()
        if database is not None:
            service.count_from_now()
        yield service
    finally:
        service.stop()
