"""Real PostgreSQL servers, each in a temporary directory, run as an ordinary user."""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.support.ports import free_port
from tests.support.processes import kill_all, send, working_in
from tests.support.programs import find_or_install
from tests.support.waiting import wait_until

# The name of the superuser of each server. It needs no password.
SUPERUSER = "postgres"

# A file system in memory, because the service refuses a server with `fsync=off`, and many databases
# are made. A test that cuts the power needs a disk instead.
_MEMORY = Path("/dev/shm")
# What a server needs by default is more than a small machine has.
_SMALL = {
    "shared_buffers": "16MB",
    "max_wal_size": "64MB",
    "min_wal_size": "2MB",
    "autovacuum_naptime": "10s",
    "max_connections": "100",
}


class PostgresServer:
    """One server. Its files are in `directory`, and it listens on 127.0.0.1 and on a unix socket.

    `settings` are settings of PostgreSQL by name. They are given on its command line.
    """

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log_path = directory / "server.log"
        self.port = free_port()
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """Give the URL of a database, as it is written in ORDERAPI_DATABASE_URL."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Make the data directory, from a template that is made once on this machine."""
        run_as_owner("cp", "--recursive", "--reflink=auto", str(_template()), str(self.data))

    def start(self, *, wait: bool = True) -> None:
        """Start the server. With `wait`, this returns when the server accepts connections."""
        settings = _SMALL | self.settings
        settings |= {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
        }
        command = [find_or_install("postgres", "postgresql"), "-D", str(self.data)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, stdout=log, stderr=log, **as_owner()
            )
        if wait:
            self.wait_until_serving()

    def wait_until_serving(self) -> None:
        """Wait until the server accepts connections."""

        def serves() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log_path.read_text(errors="replace")
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.url(), connect_timeout=2).close()
                return True
            return False

        wait_until(serves, "a PostgreSQL server that accepts connections", timeout_s=60)

    def stop(self) -> None:
        """Stop the server at once, with a last checkpoint (pg_ctl's mode `fast`)."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill every process of the server with SIGKILL, as a crash of the machine would."""
        assert self.process is not None
        kill_all(self._pids())
        self.process.wait()
        self.process = None

    def pause(self) -> None:
        """Stop every process of the server. Connections to it stay open and are silent."""
        send(self._pids(), signal.SIGSTOP)

    def resume(self) -> None:
        """Let the processes of a paused server run on."""
        send(self._pids(), signal.SIGCONT)

    def _pids(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid, *working_in(self.data)]

    def query(
        self, sql: str, parameters: Any = None, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, and give its rows if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, options: str = "") -> str:
        """Make an empty database, and give its URL."""
        self.query(f'CREATE DATABASE "{name}" TEMPLATE template0 {options}')
        return self.url(name)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """Run a server with these settings of PostgreSQL until the block ends."""
    with server_directory() as directory:
        server = PostgresServer(directory, **settings)
        server.make()
        server.start()
        try:
            yield server
        finally:
            if server.process is not None:
                server.kill()


@contextmanager
def server_directory(parent: Path | None = None) -> Iterator[Path]:
    """Give an empty directory that belongs to the user that runs the servers.

    It is in memory if this machine allows it and `parent` is not given.
    """
    if parent is None and os.access(_MEMORY, os.W_OK):
        parent = _MEMORY
    # What a server leaves in memory is removed by root too, if the tests run as root.
    directory = Path(tempfile.mkdtemp(prefix="orderapi-pg-", dir=parent))
    try:
        yield owned(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run_as_owner(*command: str) -> None:
    """Run a command as the user that runs the servers."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", check=False, **as_owner()
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def _template() -> Path:
    """Give a data directory that no server has used. To make one takes a second or two."""
    binary = Path(find_or_install("initdb", "postgresql"))
    template = Path(tempfile.gettempdir()) / f"orderapi-pg-{_owner().pw_uid}-{binary.parts[-3]}"
    made = template / "made"
    template.mkdir(exist_ok=True)
    owned(template)
    with (template / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process of the test run at a time
        if not made.exists():
            run_as_owner("rm", "-rf", str(template / "data"))
            run_as_owner(
                str(binary),
                *("--pgdata", str(template / "data"), "--username", SUPERUSER, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--wal-segsize", "1"),
            )
            made.touch()
    return template / "data"


def _owner() -> pwd.struct_passwd:
    """Give the user that runs the servers. PostgreSQL refuses to run as root."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def owned(path: Path) -> Path:
    """Let a path belong to the user that runs the servers, and give it back."""
    if os.geteuid() == 0:
        os.chown(path, _owner().pw_uid, _owner().pw_gid)
    return path


def as_owner() -> dict[str, Any]:
    """Give the arguments that let `subprocess` run a program as that user."""
    if os.geteuid() != 0:
        return {}
    user = _owner()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
