"""A real PgBouncer in front of a PostgreSQL server, with the configuration that is shipped."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.ports import free_port
from tests.support.postgres import SUPERUSER, PostgresServer, as_owner, owned, server_directory
from tests.support.programs import find_or_install
from tests.support.promises import TESTS
from tests.support.waiting import wait_until

SHIPPED = TESTS.parent / "deploy" / "postgres" / "pgbouncer.ini"


class PgBouncer:
    """One PgBouncer that pools transactions. It knows the superuser of the tests only."""

    def __init__(self, directory: Path, server: PostgresServer) -> None:
        self.port = free_port()
        self.log_path = directory / "pgbouncer.log"
        self._config = directory / "pgbouncer.ini"
        self._config.write_text(self._as_shipped(directory, server))
        users = directory / "userlist.txt"
        users.write_text(f'"{SUPERUSER}" ""\n')
        for path in (self._config, users):
            owned(path)
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Give the URL of a database, as it is written in ORDERAPI_DATABASE_URL."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        program = find_or_install("pgbouncer", "pgbouncer")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [program, str(self._config)], cwd="/", stdout=log, stderr=log, **as_owner()
            )
        wait_until(self._listens, "a PgBouncer that listens")

    def stop(self) -> None:
        """Kill it. All connections through it end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _as_shipped(self, directory: Path, server: PostgresServer) -> str:
        text = SHIPPED.read_text()
        for shipped, own in (
            ("orderapi = host=10.0.0.21 port=5432", f"* = host=127.0.0.1 port={server.port}"),
            ("listen_addr = 10.0.0.21", "listen_addr = 127.0.0.1"),
            ("listen_port = 6432", f"listen_port = {self.port}"),
            ("auth_type = scram-sha-256", "auth_type = trust"),
            ("/etc/pgbouncer/userlist.txt", f"{directory}/userlist.txt"),
            ("unix_socket_dir = /run/postgresql", "unix_socket_dir ="),
        ):
            assert text.count(shipped) == 1, f"{shipped!r} is in the file {text.count(shipped)} x"
            text = text.replace(shipped, own)
        return text

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_path.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[PgBouncer]:
    """Run a PgBouncer in front of a server until the block ends."""
    with server_directory() as directory:
        bouncer = PgBouncer(directory, server)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.stop()
