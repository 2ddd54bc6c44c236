"""A real nginx, as an ordinary user, around the site files as they are shipped."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.running import REPOSITORY, Answer, Server, answer_of, started
from tests.support.waiting import wait_until

SHIPPED = REPOSITORY / "deploy" / "nginx"
NAME = "api.example.com"
# Every address of 127.0.0.0/8 belongs to this machine. The rate limit exempts only the first one.
THIS_MACHINE, ELSEWHERE, ELSEWHERE_TOO = "127.0.0.1", "127.0.0.2", "127.0.0.3"

# The part of Debian's nginx.conf around a site, for a user who may write in only one directory.
_AROUND = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 768; }
http {
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
    gzip on;
    default_type application/octet-stream;
    include site.conf;
}
"""


class Site:
    """An nginx that listens on `port` (and `tls_port`) and sends requests on to `socket`."""

    def __init__(self, nginx: str, directory: Path, name: str = "orderapi.conf") -> None:
        self.nginx = nginx
        self.directory = directory
        self.port, self.tls_port, self.metrics_port = free_port(), free_port(), free_port()
        self.socket = directory / "orderapi.sock"
        # As long as this file exists, the site answers 503.
        self.closed = directory / "orderapi-closed"
        self.process: subprocess.Popen[bytes] | None = None
        (directory / "nginx.conf").write_text(_AROUND)
        shutil.copy(SHIPPED / name, directory / "site.conf")
        shutil.copytree(SHIPPED / "orderapi", directory / "orderapi")
        self._move_into_directory(tls=name == "orderapi-tls.conf")

    def _move_into_directory(self, *, tls: bool) -> None:
        """Change the addresses and the paths, and nothing else."""
        self.replace("listen 80 ", f"listen 127.0.0.1:{self.port} ")
        self.replace("listen [::]:80 default_server;", "")
        self.replace("listen 127.0.0.1:9108;", f"listen 127.0.0.1:{self.metrics_port};")
        self.replace("unix:/run/orderapi.sock ", f"unix:{self.socket} ", times=6)
        self.replace("/var/log/nginx/", f"{self.directory}/", times=1 + tls)
        self.replace("/var/www/html", f"{self.directory}/www")
        self.replace("/etc/nginx/orderapi-closed", str(self.closed))
        if tls:
            self.replace("listen 443 ", f"listen 127.0.0.1:{self.tls_port} ")
            self.replace("listen [::]:443 ssl default_server;", "")
            self.replace(f"/etc/letsencrypt/live/{NAME}/", f"{self.directory}/", times=2)

    def replace(self, shipped: str, by: str, times: int = 1) -> None:
        """Replace a text of the shipped site, which must occur exactly `times` times."""
        found = 0
        for path in self.directory.rglob("*.conf"):
            text = path.read_text()
            found += text.count(shipped)
            path.write_text(text.replace(shipped, by))
        assert found == times, f"{shipped!r} is there {found} times"

    def start(self) -> None:
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            for path in (self.directory, *self.directory.rglob("*")):
                shutil.chown(path, "nobody", "nogroup")
        command = [self.nginx, "-p", str(self.directory), "-c", "nginx.conf", "-e", "stderr"]
        with (self.directory / "stderr.log").open("ab") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr, **user)
        wait_until(self._listens, "nginx listens")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "stderr.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def log_lines(self) -> list[dict[str, Any]]:
        lines = (self.directory / "orderapi.log").read_bytes().decode("ascii").splitlines()
        return [json.loads(line) for line in lines]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """Wait for the one log line of a request. nginx answers before it writes the line."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [line for line in self.log_lines() if line["request_id"] == request_id]
            return bool(found)

        wait_until(is_there, f"a line with {request_id}")
        assert len(found) == 1
        return found[0]


class ServerBehind(Server):
    """A gunicorn on the socket of a site. Requests to this server go through the site."""

    def __init__(self, directory: Path, site: Site, **settings: str) -> None:
        super().__init__(directory, BIND=f"unix:{site.socket}", **settings)
        self.port = site.port
        self.site = site

    def raw(self, data: bytes, timeout_s: float = 30.0) -> bytes:
        """Send bytes unchanged and give the first response, or nothing if there is none.

        The sending side stays open, because nginx takes a client that closes it for one that has
        left.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(data)
            method = "HEAD" if data.startswith(b"HEAD ") else "GET"
            response = http.client.HTTPResponse(connection, method=method)
            try:
                response.begin()
            except http.client.RemoteDisconnected:
                return b""
            head = [f"HTTP/1.1 {response.status} {response.reason}"]
            head += [f"{name}: {value}" for name, value in response.getheaders()]
            return "\r\n".join([*head, "", ""]).encode("latin-1") + response.read()


@contextmanager
def new_site(nginx: str, name: str = "orderapi.conf") -> Iterator[Site]:
    """Give a site that is not started yet, in a directory that every user may enter."""
    # Only the owner may enter the directories of pytest, and nginx runs as another user.
    with tempfile.TemporaryDirectory(prefix="orderapi-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        site = Site(nginx, directory, name)
        try:
            yield site
        finally:
            site.stop()


@contextmanager
def serving_behind(site: Site, **settings: str) -> Iterator[ServerBehind]:
    """Run a gunicorn with a database of its own behind a site."""
    with tempfile.TemporaryDirectory(prefix="orderapi-") as made:
        server = ServerBehind(Path(made), site, **settings)
        with started(server):
            yield server


def ask(
    site: Site,
    target: str,
    headers: dict[str, str] | None = None,
    source: str = THIS_MACHINE,
    port: int | None = None,
) -> Answer:
    """Send a GET to a site from an address of this machine."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port or site.port, timeout=30, source_address=(source, 0)
    )
    return finish(connection, "GET", target, headers or {})


def finish(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes | None = None,
) -> Answer:
    """Send a request over a connection, read the response, and close the connection."""
    try:
        connection.request(method, target, body, headers)
        return answer_of(connection.getresponse())
    finally:
        connection.close()
