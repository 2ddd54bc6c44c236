"""The load: wrk on a core of its own, one window at a time, and what must hold after each."""

import json
import os
import random
import sqlite3
import subprocess
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.contenders import BENCH
from tests.bench.service import TABLES, Service

# wrk itself ends as soon as all is answered; this is for a server that hangs.
_ANSWER_TIMEOUT_S = 60
# Numbers below belong to filled databases.
_FIRST_NEW = 2**31
_SAMPLED = 20_000


class WindowInvalid(Exception):
    """What was measured cannot be believed; the message says why."""


@dataclass(frozen=True)
class Window:
    """What one window of load showed. Latencies are those of every request of it."""

    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: float
    pss_mib: float


class Load:
    """Runs wrk against services, `core` being its own."""

    def __init__(self, core: int, directory: Path) -> None:
        self._core = core
        self._directory = directory
        self._samples: dict[Path, Path] = {}

    def new_orders(self, service: Service, clients: int, seconds: float) -> Window:
        """Send orders under new keys; every 201 must be a row of each table, and nothing else."""
        before = service.rows()
        window, counted = self._window(
            service, "orders", clients, seconds, first=service.newest_key()
        )
        after = service.rows()
        stored = {table: after[table] - before[table] for table in TABLES}
        if counted["statuses"] != {"201": counted["answered"]} or counted["replayed"]:
            raise _invalid(service, f"only 201s to new orders were expected: {counted}")
        if set(stored.values()) != {counted["answered"]}:
            raise _invalid(service, f"{counted['answered']} orders were answered, {stored} stored")
        return window

    def replays(self, service: Service, clients: int, seconds: float) -> Window:
        """Send known orders again; nothing may be stored."""
        window, counted = self._on_sample(service, "replays", clients, seconds)
        answered = counted["answered"]
        if counted["statuses"] != {"201": answered} or counted["replayed"] != answered:
            raise _invalid(service, f"only replays were expected: {counted}")
        return window

    def reads(self, service: Service, clients: int, seconds: float) -> Window:
        """Read known orders."""
        window, counted = self._on_sample(service, "reads", clients, seconds)
        if counted["statuses"] != {"200": counted["answered"]}:
            raise _invalid(service, f"only 200s were expected: {counted}")
        return window

    def _sample(self, database: Path) -> Path:
        """Choose the orders of `database` that are sent again and read, once: they stay there."""
        if database not in self._samples:
            path = self._directory / f"sample-{len(self._samples)}.txt"
            write_sample(database, path)
            self._samples[database] = path
        return self._samples[database]

    def _on_sample(
        self, service: Service, kind: str, clients: int, seconds: float
    ) -> tuple[Window, dict[str, Any]]:
        sample = self._sample(service.database)
        before = service.rows()
        measured = self._window(service, kind, clients, seconds, sample=sample)
        if service.rows() != before:
            raise _invalid(service, f"{kind} changed rows: {before}, {service.rows()}")
        return measured

    def _window(
        self,
        service: Service,
        kind: str,
        clients: int,
        seconds: float,
        *,
        first: int = 0,
        sample: Path | None = None,
    ) -> tuple[Window, dict[str, Any]]:
        memory: list[float] = []
        look = threading.Timer(seconds * 0.8, lambda: memory.append(service.pss_mib()))
        look.start()
        cpu_before_s = service.cpu_s()
        counted = self._wrk(service, kind, clients, seconds, _FIRST_NEW + first, sample)
        cpu_s = service.cpu_s() - cpu_before_s
        look.join()
        if counted["broken"] or counted["in_window"] == 0:
            raise _invalid(service, f"connections broke, or nothing was answered: {counted}")
        window = Window(
            per_s=counted["in_window"] / seconds,
            p50_ms=counted["p50_us"] / 1000,
            p99_ms=counted["p99_us"] / 1000,
            max_ms=counted["max_us"] / 1000,
            cpu_us=cpu_s / counted["answered"] * 1e6,
            pss_mib=memory[0],
        )
        return window, counted

    def _wrk(
        self,
        service: Service,
        kind: str,
        clients: int,
        seconds: float,
        first: int,
        sample: Path | None,
    ) -> dict[str, Any]:
        command = ["taskset", "--cpu-list", str(self._core), "wrk", "--threads", "1"]
        command += ["--connections", str(clients), "--timeout", f"{_ANSWER_TIMEOUT_S}s"]
        command += ["--duration", f"{int(seconds) + _ANSWER_TIMEOUT_S}s"]
        command += ["--script", str(BENCH / "load.lua"), service.url, "--"]
        command += [kind, str(seconds), str(first), str(sample)]
        environ = os.environ | {"BENCH_CONNECTIONS": str(clients)}
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        lines = ended.stdout.splitlines()
        if ended.returncode != 0 or not lines or not lines[-1].startswith("{"):
            raise _invalid(service, f"wrk failed: {ended.stdout}{ended.stderr}")
        counted: dict[str, Any] = json.loads(lines[-1])
        return counted


def write_sample(database: Path, path: Path) -> None:
    """List some stored orders at random, for load.lua: key, order_id and customer_id a line."""
    with closing(sqlite3.connect(database, timeout=30)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        (newest,) = db.execute("SELECT MAX(claim_id) FROM idempotency_keys").fetchone()
        chosen = random.sample(range(1, newest + 1), min(_SAMPLED, newest))
        lines = []
        # In the order of the file, for a disk that does not hold it in memory.
        for claim_id in sorted(chosen):
            row = db.execute(
                "SELECT idempotency_key, order_id, json_extract(response_body, '$.customer_id')"
                " FROM idempotency_keys WHERE claim_id = ?",
                (claim_id,),
            ).fetchone()
            lines.append(" ".join(row) + "\n")
    random.shuffle(lines)
    path.write_text("".join(lines))


def _invalid(service: Service, reason: str) -> WindowInvalid:
    return WindowInvalid(f"{service.contender.name}: {reason}\n{service.log_tail()}")
