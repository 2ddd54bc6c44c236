"""Three PostgreSQL servers under Patroni, with one etcd, all on loopback addresses of this machine.

Patroni runs from `deploy/postgres/patroni.yml`, in which only addresses, paths, passwords and times
are replaced.
"""

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.support.ports import free_port
from tests.support.postgres import SUPERUSER, as_owner, owned
from tests.support.processes import kill_all, send, working_in
from tests.support.programs import Program
from tests.support.running import REPOSITORY
from tests.support.waiting import wait_until

SHIPPED = REPOSITORY / "deploy" / "postgres"
NODES = (1, 2, 3)
# After this many seconds, the standby replaces a silent primary. A failover takes a little longer.
TTL_S = 6
# A machine with other work may take as long as this to make or mend a cluster.
UP_MAX_S = 120.0
# A node that comes back replays what it has, before it takes over the data of the new primary.
_FOLLOWERS = (
    "SELECT sync_state FROM pg_stat_replication"
    " WHERE state = 'streaming' AND replay_lsn >= '{}' ORDER BY 1"
)


class Etcd:
    """One etcd. A real cluster has three of them."""

    def __init__(self, etcd: str, directory: Path) -> None:
        self.port, peer = free_port(), free_port()
        own, of_peers = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        command = [etcd, "--name=only", f"--data-dir={directory}", "--log-level=error"]
        command += [f"--listen-client-urls={own}", f"--advertise-client-urls={own}"]
        command += [f"--listen-peer-urls={of_peers}", f"--initial-advertise-peer-urls={of_peers}"]
        command += [f"--initial-cluster=only={of_peers}", "--unsafe-no-fsync"]
        with directory.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **as_owner())


class Node:
    """One host: a Patroni with its PostgreSQL, at the address 127.0.0.2N."""

    def __init__(self, patroni: str, bin_directory: Path, directory: Path, number: int) -> None:
        self.name = f"db{number}"
        self.host = f"127.0.0.2{number}"
        self.port, self.rest_port = free_port(), free_port()
        self.data = directory / self.name / "data"
        self._patroni = patroni
        self._bin_directory = bin_directory
        self._log_path = directory / f"{self.name}.log"
        self._config = directory / f"{self.name}.yml"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, etcd: Etcd, password: str) -> None:
        """Write the shipped configuration with the addresses, paths and times of this node."""
        home = self.data.parent
        text = (SHIPPED / "patroni.yml").read_text()
        hosts = "  hosts:\n    - 10.0.0.21:2379\n    - 10.0.0.22:2379\n    - 10.0.0.23:2379\n"
        for shipped, own in (
            (hosts, f"  hosts: ['127.0.0.1:{etcd.port}']\n"),
            ("name: db1", f"name: {self.name}"),
            ("10.0.0.21:8008", f"{self.host}:{self.rest_port}"),
            ("10.0.0.21:5432", f"{self.host}:{self.port}"),
            ("10.0.0.0/24", "127.0.0.0/8"),
            ("ttl: 20", f"ttl: {TTL_S}"),
            ("retry_timeout: 9", "retry_timeout: 2"),
            # The drill is the watchdog: it kills a host that it has frozen.
            ("mode: required", "mode: off"),
            ("data_dir: /var/lib/postgresql/15/orderapi", f"data_dir: {self.data}"),
            ("bin_dir: /usr/lib/postgresql/15/bin", f"bin_dir: {self._bin_directory}"),
            ("SUPERUSER-PASSWORD", password),
            ("REPLICATION-PASSWORD", password),
            ("REWIND-PASSWORD", password),
            # Only the user postgres may write in the default directory. The data directory cannot
            # be used, because pg_rewind cannot copy a socket.
            ("  pg_hba:", f"  parameters: {{unix_socket_directories: '{home}'}}\n  pg_hba:"),
        ):
            assert shipped in text, f"{shipped!r} is not in the shipped patroni.yml"
            text = text.replace(shipped, own)
        self._config.write_text(text)
        _made(home)

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [self._patroni, str(self._config)],
                stdout=log,
                stderr=log,
                cwd=self.data.parent,
                # Patroni writes its file of passwords into the home directory.
                env=os.environ | {"HOME": str(self.data.parent)},
                **as_owner(),
            )

    def kill(self) -> None:
        """Kill every process of the host at once, as a power cut does."""
        kill_all(self._pids())
        if self._process is not None:
            self._process.wait()

    def pause(self) -> None:
        """Stop every process of the host. Connections to the host stay open and are silent."""
        send(self._pids(), signal.SIGSTOP)

    def hand_over(self) -> None:
        """Ask Patroni to make the synchronous standby the primary, as before maintenance."""
        connection = http.client.HTTPConnection(self.host, self.rest_port, timeout=60)
        try:
            connection.request("POST", "/switchover", json.dumps({"leader": self.name}))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
        finally:
            connection.close()

    def answers(self, path: str) -> bool:
        """Tell whether Patroni's answer to a health check such as `/primary` is 200."""
        connection = http.client.HTTPConnection(self.host, self.rest_port, timeout=2)
        with suppress(OSError, http.client.HTTPException):
            try:
                connection.request("GET", path)
                return connection.getresponse().status == 200
            finally:
                connection.close()
        return False

    def assert_running(self) -> None:
        """Fail with the last lines that Patroni has logged if it has ended."""
        assert self._process is not None
        assert self._process.poll() is None, self._log_path.read_text()[-2000:]

    def _pids(self) -> list[int]:
        patroni = [self._process.pid] if self._process is not None else []
        return [*patroni, *working_in(self.data), *working_in(self.data.parent)]


class Cluster:
    """Three nodes, of which one is the primary and one its synchronous standby."""

    def __init__(self, nodes: list[Node], password: str) -> None:
        self.nodes = nodes
        self.password = password

    def url(self, database: str, role: str = SUPERUSER) -> str:
        """Give the URL that names all three hosts; libpq finds the primary."""
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        access = f"{role}:{self.password}"
        return f"postgresql://{access}@{hosts}/{database}?target_session_attrs=read-write"

    def leader(self) -> Node | None:
        """Give the node that is the primary now."""
        return next((node for node in self.nodes if node.answers("/primary")), None)

    def wait_until_redundant(self) -> None:
        """Wait until both other nodes have what the primary has written, one of them in sync."""
        written: list[str] = []

        def is_redundant() -> bool:
            for node in self.nodes:
                node.assert_running()
            leader = self.leader()
            # A node that was paused may still say that it is the primary, but it has no standby.
            with suppress(psycopg.OperationalError):
                if leader is not None and not written:
                    written.append(self._query(leader, "SELECT pg_current_wal_lsn()::text")[0])
                if leader is not None:
                    return self._query(leader, _FOLLOWERS.format(*written)) == ["async", "sync"]
            return False

        wait_until(is_redundant, "the cluster is complete", timeout_s=UP_MAX_S, pause_s=0.2)

    def _query(self, node: Node, sql: str) -> list[Any]:
        """Give the first column of what a node answers."""
        url = f"postgresql://{SUPERUSER}:{self.password}@{node.host}:{node.port}/postgres"
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            return [value for (value,) in connection.execute(sql.encode()).fetchall()]


@contextmanager
def cluster_in(directory: Path, program: Program) -> Iterator[Cluster]:
    """Run a cluster in a directory that every user may enter, until the block ends."""
    etcd = Etcd(program("etcd", "etcd-server"), _made(directory / "etcd"))
    patroni = program("patroni", "patroni")
    nodes = [Node(patroni, _bin_directory(), directory, number) for number in NODES]
    cluster = Cluster(nodes, password="of-a-test")
    try:
        for node in nodes:
            node.configure(etcd, cluster.password)
            node.start()
        cluster.wait_until_redundant()
        yield cluster
    finally:
        for node in nodes:
            node.kill()
        etcd.process.kill()
        etcd.process.wait()


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    return owned(directory)


def _bin_directory() -> Path:
    """Give the directory of the programs of the newest PostgreSQL that Debian has installed."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return max(found, key=lambda path: int(path.parent.name))
