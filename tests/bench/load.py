"""The load: wrk sends requests for one window of time, and what was stored is compared after it."""

import json
import os
import random
import resource
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orderapi.records import PUBLIC_CLIENT
from tests.bench import machine
from tests.bench.contenders import BENCH
from tests.bench.scenarios import Work
from tests.bench.service import TABLES, Service

# wrk ends by itself when every request is answered. This limit is for a server that hangs.
_ANSWER_MAX_S = 60
# The numbers below this one are those of the keys in filled databases.
_FIRST_NEW = 2**31
_SAMPLE_MAX_ORDERS = 20_000


class WindowInvalid(Exception):
    """A window cannot be reported, because a service did not do its work. The message says how."""


@dataclass(frozen=True)
class Window:
    """What one window of load showed.

    The latencies are those of every request of the window. `cpu_us` is the user and system time of
    all server processes, divided by the requests. `pss_mib` is the servers' memory right after it.
    `others_share` is the share of the cores' time that went neither to the servers nor to wrk nor
    was idle. It is a number between 0 and 1.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: float
    pss_mib: float
    others_share: float


class Load:
    """Runs wrk against services. `directory` is where it keeps its lists of stored orders."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._samples: dict[Path, Path] = {}

    def warm_up(self, work: Work, service: Service, clients: int, seconds: float) -> None:
        """Send requests that are checked but not measured. Raises as `measure` does."""
        self._send(work, service, clients, seconds)

    def measure(self, work: Work, service: Service, clients: int, seconds: float) -> Window:
        """Send one kind of request for `seconds` seconds.

        Raises WindowInvalid if an answer or the number of stored rows is not what it has to be, or
        if nothing is answered in time.
        """
        window = self._send(work, service, clients, seconds)
        if window.per_s == 0:
            raise _invalid(service, f"nothing was answered within {seconds:g} s")
        return window

    def _send(self, work: Work, service: Service, clients: int, seconds: float) -> Window:
        if work == "orders":
            return self._new_orders(service, clients, seconds)
        return self._known_orders(work, service, clients, seconds)

    def _new_orders(self, service: Service, clients: int, seconds: float) -> Window:
        """Send orders under new keys. Each 201 must have stored one row in each table."""
        before = service.rows()
        first = _FIRST_NEW + service.newest_event()
        window, counted = self._window(service, "orders", clients, seconds, first=first)
        after = service.rows()
        stored = {table: after[table] - before[table] for table in TABLES}
        if counted["statuses"] != {"201": counted["answered"]} or counted["replayed"]:
            raise _invalid(service, f"only 201 for new orders was expected: {counted}")
        if set(stored.values()) != {counted["answered"]}:
            raise _invalid(service, f"{counted['answered']} orders were answered, {stored} stored")
        return window

    def _known_orders(self, work: Work, service: Service, clients: int, seconds: float) -> Window:
        """Replay or read orders that are stored. No row may be stored by that."""
        sample = self._sample(service.database)
        before = service.rows()
        window, counted = self._window(service, work, clients, seconds, sample=sample)
        answered = counted["answered"]
        status, replayed = ("201", answered) if work == "replays" else ("200", 0)
        if counted["statuses"] != {status: answered} or counted["replayed"] != replayed:
            raise _invalid(service, f"only {status} for {work} was expected: {counted}")
        if service.rows() != before:
            raise _invalid(service, f"{work} changed rows: {before}, {service.rows()}")
        return window

    def _sample(self, database: Path) -> Path:
        """Return a list of stored orders, which is made once for each database."""
        if database not in self._samples:
            path = self._directory / f"sample-{len(self._samples)}.txt"
            write_sample(database, path)
            self._samples[database] = path
        return self._samples[database]

    def _window(
        self,
        service: Service,
        work: Work,
        clients: int,
        seconds: float,
        *,
        first: int = 0,
        sample: Path | None = None,
    ) -> tuple[Window, dict[str, Any]]:
        cores = os.sched_getaffinity(0)
        began_at = time.monotonic()
        busy_s = -machine.busy_s(cores)
        wrk_s = -_cpu_of_ended_children_s()
        cpu_s = -service.cpu_s()
        counted = _wrk(service, clients, seconds, [work, str(seconds), str(first), str(sample)])
        cpu_s += service.cpu_s()
        wrk_s += _cpu_of_ended_children_s()
        busy_s += machine.busy_s(cores)
        available_s = (time.monotonic() - began_at) * len(cores)
        if counted["broken"]:
            raise _invalid(service, f"connections broke: {counted}")
        window = Window(
            per_s=counted["in_window"] / seconds,
            p50_ms=counted["p50_us"] / 1000,
            p99_ms=counted["p99_us"] / 1000,
            max_ms=counted["max_us"] / 1000,
            cpu_us=cpu_s / counted["answered"] * 1e6,
            pss_mib=service.pss_mib(),
            others_share=max(0.0, busy_s - cpu_s - wrk_s) / available_s,
        )
        return window, counted


def _cpu_of_ended_children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def write_sample(database: Path, path: Path) -> None:
    """List stored orders in random order, a line each: key, order_id and customer_id.

    Orders of other clients are left out, because the load sends no token.
    """
    with closing(sqlite3.connect(database, timeout=30)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        (newest,) = db.execute("SELECT MAX(sequence) FROM events").fetchone()
        chosen = random.sample(range(1, newest + 1), min(_SAMPLE_MAX_ORDERS, newest))
        # The rows are read in the order of the file, which is faster if they are not in memory.
        known = [_known_order(db, sequence) for sequence in sorted(chosen)]
    lines = [" ".join(order) + "\n" for order in known if order]
    random.shuffle(lines)
    path.write_text("".join(lines))


def _known_order(db: sqlite3.Connection, sequence: int) -> tuple[str, str, str] | None:
    found: tuple[str, str, str] | None = db.execute(
        "SELECT idempotency_keys.idempotency_key, orders.order_id, orders.customer_id"
        " FROM events"
        " JOIN orders ON orders.order_id = events.order_id"
        " JOIN idempotency_keys ON idempotency_keys.order_id = events.order_id"
        " WHERE events.sequence = ? AND orders.client_id = ?",
        (sequence, PUBLIC_CLIENT),
    ).fetchone()
    return found


def _wrk(service: Service, clients: int, seconds: float, arguments: list[str]) -> dict[str, Any]:
    command = ["wrk", "--threads", "1", "--connections", str(clients)]
    command += ["--timeout", f"{_ANSWER_MAX_S}s", "--duration", f"{int(seconds) + _ANSWER_MAX_S}s"]
    command += ["--script", str(BENCH / "load.lua"), service.url, "--", *arguments]
    environ = os.environ | {
        "BENCH_CONNECTIONS": str(clients),
        "BENCH_AUTHORIZATION": service.authorization,
    }
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    lines = ended.stdout.splitlines()
    if ended.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise _invalid(service, f"wrk failed: {ended.stdout}{ended.stderr}")
    counted: dict[str, Any] = json.loads(lines[-1])
    return counted


def _invalid(service: Service, reason: str) -> WindowInvalid:
    return WindowInvalid(f"{service.contender.name}: {reason}\n{service.log_tail()}")
