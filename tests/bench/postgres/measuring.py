"""One window: hosts place orders in an empty database, and what was stored is compared after it."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench import machine
from tests.bench.load import WindowInvalid
from tests.bench.postgres.contenders import NAMES
from tests.bench.postgres.servers import Cluster
from tests.bench.service import TABLES
from tests.support.running import REPOSITORY

CLIENTS = 64
# From the line that tells the hosts when a window begins until they have read it.
_LEAD_S = 0.1


@dataclass(frozen=True)
class Setup:
    """Where the orders come from, and where they go to."""

    title: str
    hosts: int
    round_trip_ms: float
    is_synchronous: bool = False


@dataclass(frozen=True)
class StoreWindow:
    """What one window of load showed.

    `slowest_share` is the rate of the slowest host, divided by the mean rate of all hosts.
    `database_cpu_us` is the processor time of all servers of PostgreSQL for each order, and
    `host_cpu_us` is that of the hosts. `others_share` is what `load.Window` calls so.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    slowest_share: float
    syncs_per_order: float
    database_cpu_us: float
    host_cpu_us: float
    others_share: float


def measure(
    setup: Setup, contender: str, cluster: Cluster, warm_up_s: float, window_s: float
) -> StoreWindow:
    """Let every host place orders for the length of a warm-up and of a window.

    Raises WindowInvalid if a host fails, or if the stored rows are not what was acknowledged.
    """
    with cluster.new_database() as database:
        syncs = -cluster.wal_syncs()
        with _hosts(setup, contender, cluster.url(database)) as hosts:
            begin = time.monotonic() + _LEAD_S + warm_up_s
            for host in hosts:
                _tell(host, begin, begin + window_s)
            used = _used_between(cluster, begin, begin + window_s)
            results = [_result(host, contender) for host in hosts]
        syncs += cluster.wal_syncs()
        acknowledged = sum(result["all"] for result in results)
        _refuse_other_rows(cluster, database, contender, acknowledged)
    return _window(results, used, syncs / acknowledged, window_s)


@dataclass(frozen=True)
class _Used:
    """Processor time that was used in a window, in seconds: by the databases, and altogether."""

    database_s: float
    busy_s: float


def _used_between(cluster: Cluster, begin: float, end: float) -> _Used:
    cores = os.sched_getaffinity(0)
    time.sleep(max(0.0, begin - time.monotonic()))
    database_s, busy_s = -cluster.cpu_s(), -machine.busy_s(cores)
    time.sleep(max(0.0, end - time.monotonic()))
    return _Used(database_s + cluster.cpu_s(), busy_s + machine.busy_s(cores))


def _window(
    results: list[dict[str, Any]], used: _Used, syncs_per_order: float, window_s: float
) -> StoreWindow:
    latencies = sorted(us for result in results for us in result["latencies_us"])
    if len(latencies) < 2:
        raise WindowInvalid(f"only {len(latencies)} orders were placed within {window_s:g} s")
    percentiles = statistics.quantiles(latencies, n=100)
    counts = [len(result["latencies_us"]) for result in results]
    hosts_s = sum(result["cpu_s"] for result in results)
    available_s = window_s * len(os.sched_getaffinity(0))
    return StoreWindow(
        per_s=len(latencies) / window_s,
        p50_ms=percentiles[49] / 1000,
        p99_ms=percentiles[98] / 1000,
        slowest_share=min(counts) / statistics.mean(counts),
        syncs_per_order=syncs_per_order,
        database_cpu_us=used.database_s / len(latencies) * 1e6,
        host_cpu_us=hosts_s / len(latencies) * 1e6,
        others_share=max(0.0, used.busy_s - used.database_s - hosts_s) / available_s,
    )


def _refuse_other_rows(cluster: Cluster, database: str, contender: str, acknowledged: int) -> None:
    """Raise WindowInvalid unless each acknowledged order has one row in each of the four tables.

    The numbers of the events must have no gap.
    """
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
    (found,) = cluster.query(f"SELECT {counts}, (SELECT max(sequence) FROM events)", database)
    if set(found) != {acknowledged}:
        raise WindowInvalid(
            f"{NAMES[contender]}: {acknowledged} orders were acknowledged, {found} stored"
        )


@contextmanager
def _hosts(setup: Setup, contender: str, url: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """Run the hosts of a window. Each of them has placed an order for each of its clients."""
    hosts = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.bench.postgres.host", contender, url),
                *(str(CLIENTS), str(setup.round_trip_ms), f"host{number}"),
            ],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(setup.hosts)
    ]
    try:
        for host in hosts:
            _line(host, contender)
        yield hosts
    finally:
        for host in hosts:
            host.kill()
            host.wait()


def _tell(host: "subprocess.Popen[str]", begin: float, end: float) -> None:
    assert host.stdin is not None
    host.stdin.write(json.dumps({"begin": begin, "end": end}) + "\n")
    host.stdin.flush()


def _result(host: "subprocess.Popen[str]", contender: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(_line(host, contender))
    return result


def _line(host: "subprocess.Popen[str]", contender: str) -> str:
    assert host.stdout is not None
    line = host.stdout.readline()
    if not line:
        raise WindowInvalid(f"{NAMES[contender]}: a host has failed; see its message above")
    return line
