"""The servers of PostgreSQL that are measured. Their files are on a real disk."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
from tests.bench import machine
from tests.bench.postgres.contenders import COUNTER
from tests.bench.service import NotServing
from tests.support.postgres import SUPERUSER, PostgresServer, run_as_owner, server_directory
from tests.support.programs import find_or_install
from tests.support.tcp_proxy import tcp_proxy
from tests.support.waiting import wait_until

# A small server of a real installation. A checkpoint should not fall into a window.
_SETTINGS = {
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "min_wal_size": "512MB",
    "checkpoint_timeout": "30min",
    "autovacuum_naptime": "1min",
}
_STANDBY = "standby"
# The database of which each window gets a copy.
PREPARED = "prepared"


class Cluster:
    """A primary, and its standbys, which it waits for at each COMMIT."""

    def __init__(self, primary: PostgresServer, standbys: list[PostgresServer]) -> None:
        self._primary = primary
        self._servers = [primary, *standbys]
        self._made = 0

    def prepare(self) -> None:
        """Make a database with the product's schema, of which `new_database` makes copies."""
        store = PostgresStore(PostgresUrl(self._primary.create_database(PREPARED)))
        store.prepare()
        store.close()
        self._primary.query(COUNTER, database=PREPARED)

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """Lend a database without orders, right after a checkpoint. Gives its name."""
        self._made += 1
        name = f"bench_{self._made}"
        self._primary.query(f"CREATE DATABASE {name} TEMPLATE {PREPARED}")
        self._primary.query("CHECKPOINT")
        try:
            yield name
        finally:
            self._primary.query(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return self._primary.url(database)

    def query(self, sql: str, database: str) -> list[tuple[object, ...]]:
        """Run one statement in a database of the primary, and return its rows."""
        return self._primary.query(sql, database=database)

    def cpu_s(self) -> float:
        """Return the user and system time that all processes of all servers have used so far."""
        pids = [server.process.pid for server in self._servers if server.process is not None]
        return sum(machine.cpu_s(pid) for pid in pids)

    def wal_syncs(self) -> int:
        """Return how often the primary has synced its WAL so far.

        Its processes report that when they end, or after a second.
        """
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'bench%'"
        wait_until(lambda: self._primary.query(others) == [(0,)], "the end of all connections")
        ((syncs,),) = self._primary.query("SELECT wal_sync FROM pg_stat_wal")
        return int(syncs)


class _DiskServer(PostgresServer):
    """A server whose files are a copy of those in `template`."""

    def __init__(self, directory: Path, template: Path, **settings: str) -> None:
        super().__init__(directory, **_SETTINGS | settings)
        self._template = template

    def make(self) -> None:
        """See `PostgresServer`."""
        run_as_owner("cp", "--recursive", str(self._template), str(self.data))


@contextmanager
def clusters(work: Path, link_delay_s: float) -> Iterator[tuple[Cluster, Cluster]]:
    """Run a server alone, and a primary with a synchronous standby, until the block ends.

    `work` is where their files are. `link_delay_s` is the delay between the primary and its
    standby, in each direction.

    Raises NotServing if PostgreSQL is not installed and cannot be installed.
    """
    with ExitStack() as stack:

        def directory() -> Path:
            return stack.enter_context(server_directory(work))

        template = _initialised(directory())
        alone = _DiskServer(directory(), template)
        primary = _DiskServer(directory(), template, synchronous_standby_names=_STANDBY)
        link = stack.enter_context(tcp_proxy("127.0.0.1", primary.port, link_delay_s))
        to_primary = f"host=127.0.0.1 port={link.port} user={SUPERUSER}"
        standby = _DiskServer(
            directory(),
            template,
            primary_conninfo=f"{to_primary} application_name={_STANDBY}",
        )
        for server in (alone, primary, standby):
            server.make()
        run_as_owner("touch", str(standby.data / "standby.signal"))
        for server in (alone, primary, standby):
            server.start()
            stack.callback(server.kill)
        _wait_until_synchronous(primary)
        found = Cluster(alone, []), Cluster(primary, [standby])
        for cluster in found:
            cluster.prepare()
        yield found


def _initialised(directory: Path) -> Path:
    """Return a data directory that no server has used.

    Raises NotServing if PostgreSQL is not installed and cannot be installed.
    """
    data = directory / "data"
    try:
        initdb = find_or_install("initdb", "postgresql")
    except pytest.skip.Exception as error:
        raise NotServing(f"PostgreSQL cannot be started: {error}") from error
    run_as_owner(
        initdb,
        *("--pgdata", str(data), "--username", SUPERUSER, "--auth", "trust"),
        *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
    )
    return data


def _wait_until_synchronous(primary: PostgresServer) -> None:
    state = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
    wait_until(lambda: primary.query(state) == [("sync",)], "a synchronous standby")
