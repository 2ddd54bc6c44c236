"""A real gunicorn in a directory of its own, as operators start it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.engines import Engine, SqliteEngine
from tests.support.ports import free_port
from tests.support.rows import TABLES
from tests.support.waiting import awake_s, wait_for_text, wait_until

REPOSITORY = Path(__file__).parent.parent.parent
ORDER = {"customer_id": "cust1", "item_id": "item1", "quantity": 1}
ORDER_BODY = json.dumps(ORDER).encode()


@dataclass(frozen=True)
class Answer:
    """A status, its headers by lower-case name, and the raw body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer_of(response: http.client.HTTPResponse) -> Answer:
    """Read the rest of a response whose head has been read."""
    received = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, received, response.read())


def environ_with(**settings: str) -> dict[str, str]:
    """Give the environment of this process with these settings of orderapi, and with no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ORDERAPI_")}
    return own | {f"ORDERAPI_{name}": value for name, value in settings.items()}


class Server:
    """One gunicorn. Its log lies in `directory`, and so does its database if it has no `engine`."""

    def __init__(self, directory: Path, engine: Engine | None = None, /, **settings: str) -> None:
        self.directory = directory
        self.engine = engine or SqliteEngine(directory)
        self.log_path = directory / "server.log"
        self.host, self.port = "127.0.0.1", free_port()
        self.settings = settings
        self.config = "deploy/gunicorn.conf.py"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        """The file of a database of SQLite."""
        assert isinstance(self.engine, SqliteEngine)
        return self.engine.path

    def environ(self) -> dict[str, str]:
        own = {
            "DATABASE_URL": self.engine.url_text,
            "BIND": f"127.0.0.1:{self.port}",
            "WORKERS": "2",
        }
        return environ_with(**own | self.settings)

    def start(self, *, wait: bool = True, **popen: Any) -> None:
        command = [str(Path(sys.executable).parent / "gunicorn")]
        command += ["-c", self.config, "wsgi:app"]
        with self.log_path.open("ab") as log:
            output: dict[str, Any] = {"stderr": log, "stdout": log}
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=self.environ(), **(output | popen)
            )
        if wait:
            self.wait_until_serving()

    def wait_until_serving(self, timeout_s: float = 60.0) -> None:
        """Wait until the service answers, and no worker is still to be forked."""
        give_up_at = awake_s() + timeout_s
        workers = int(self.environ()["ORDERAPI_WORKERS"])
        while awake_s() < give_up_at:
            with suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/healthz").status == 200 and len(self.workers()) >= workers:
                    return
            assert self.process is not None
            assert self.process.poll() is None, self.log_path.read_text()
            time.sleep(0.02)
        raise AssertionError(f"not serving: {self.log_path.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def accepted(self) -> int:
        """Tell how many clients have a connection that a worker has accepted."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        fields = [line.split() for line in lines]
        # The fields are the local address, the state and the inode (proc(5)). A connection
        # that no process has accepted has the inode 0.
        port = f":{self.port:04X}"
        return sum(f[1].endswith(port) and f[3] == "01" and f[9] != "0" for f in fields)

    def stop(self, timeout_s: float = 30.0) -> int:
        """End the server as systemd would and give its exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process = None

    def kill(self) -> None:
        """Kill the master with SIGKILL. Its workers must end too."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def wait_for_log(self, text: str) -> None:
        """Wait until the log contains `text`. An answer may be sent before its line is written."""
        wait_for_text(self.log_path, text)

    def log_lines(self) -> list[dict[str, Any]]:
        whole, _, _ = self.log_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def lines_of(self, request_id: str) -> list[dict[str, Any]]:
        """Wait for the log lines of a request. An answer may be sent before its line is written."""
        found: list[dict[str, Any]] = []

        def are_there() -> bool:
            found[:] = [line for line in self.log_lines() if line.get("request_id") == request_id]
            return bool(found)

        wait_until(are_there, f"a line of {request_id}")
        return found

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return answer_of(connection.getresponse())
        finally:
            connection.close()

    def order(
        self, key: str | None, payload: Any = ORDER, timeout_s: float = 30.0, **headers: str
    ) -> Answer:
        """Send `POST /orders`. Underscores in the names of headers stand for hyphens."""
        sent = {"Content-Type": "application/json"}
        if key is not None:
            sent["Idempotency-Key"] = key
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = payload if isinstance(payload, bytes) else json.dumps(payload)
        return self.request("POST", "/orders", body, sent, timeout_s)

    def raw(self, data: bytes, timeout_s: float = 10.0) -> bytes:
        """Send bytes unchanged, close the sending side, and give all that the server sends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
            return received

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the live database, as people do with sqlite3 and psql."""
        return self.engine.query(sql)

    def counts(self) -> dict[str, int]:
        return dict(zip(TABLES, self.engine.counts(), strict=True))


@contextmanager
def serving(directory: Path, engine: Engine | None = None, /, **settings: str) -> Iterator[Server]:
    """Run a server in a directory until the block ends."""
    server = Server(directory, engine, **settings)
    with started(server):
        yield server


@contextmanager
def started(server: Server, **popen: Any) -> Iterator[None]:
    """Start a server, and kill what is left of it when the block ends."""
    server.start(**popen)
    try:
        yield
    finally:
        if server.process is not None:
            server.process.kill()
            server.process.wait()
