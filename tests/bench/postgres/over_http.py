"""The whole service on a PostgreSQL of the same machine, beside the service on SQLite."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.compare import Plan
from tests.bench.contenders import Contender, our_contender, start_ours
from tests.bench.load import Load, Window
from tests.bench.postgres.servers import Cluster
from tests.bench.scenarios import MAIN_CLIENTS
from tests.bench.service import Place, Service, serving

SQLITE = "sqlite"
POSTGRES = "postgres"
ENGINES = {SQLITE: "orderapi on SQLite", POSTGRES: "orderapi on PostgreSQL"}


@dataclass(frozen=True)
class HttpWindow:
    """A window over HTTP, and the processor time of PostgreSQL for each order."""

    window: Window
    database_cpu_us: float


def measure(engine: str, cluster: Cluster, plan: Plan, load: Load, work: Path) -> HttpWindow:
    """Send new orders to a service on an empty database. Raises as `Load.measure` does."""
    print(f"over HTTP, {MAIN_CLIENTS} clients: {ENGINES[engine]}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=work) as name, _serving(engine, cluster, name) as service:
        load.warm_up("orders", service, MAIN_CLIENTS, plan.warm_up_s)
        orders, database_s = -service.newest_event(), -cluster.cpu_s()
        window = load.measure("orders", service, MAIN_CLIENTS, plan.window_s)
        database_s += cluster.cpu_s()
        orders += service.newest_event()
    # To the load generator, the servers of PostgreSQL are other processes of the machine.
    share = database_s / (plan.window_s * len(os.sched_getaffinity(0)))
    window = replace(window, others_share=max(0.0, window.others_share - share))
    return HttpWindow(window, database_s / orders * 1e6)


@contextmanager
def _serving(engine: str, cluster: Cluster, directory: str) -> Iterator[Service]:
    if engine == SQLITE:
        with serving(our_contender(), Path(directory), Place()) as service:
            yield service
        return
    with cluster.new_database() as database:
        service = _PostgresService(Path(directory), cluster, database)
        try:
            service.wait_until_serving()
            yield service
        finally:
            service.stop()


class _PostgresService(Service):
    """Our service on a database of a cluster."""

    def __init__(self, directory: Path, cluster: Cluster, database: str) -> None:
        self._cluster = cluster
        self._name = database
        url = cluster.url(database)
        contender = Contender(POSTGRES, ENGINES[POSTGRES], lambda _, port: start_ours(url, port))
        super().__init__(contender, directory, Path(database), Place())

    def _query(self, sql: str, *_parameters: object) -> object:
        return self._cluster.query(sql, self._name)[0][0]
