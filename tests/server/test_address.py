"""A start never takes an address from a running service, and a stop removes only its own socket."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from orderapi.server.address import Address
from tests.support.http_messages import raw_order, raw_request
from tests.support.placing import held
from tests.support.running import ORDER_BODY, Server
from tests.support.waiting import wait_until


class OnPath(Server):
    """A server on a unix socket."""

    def __init__(self, directory: Path, path: Path) -> None:
        directory.mkdir(exist_ok=True)
        super().__init__(directory)
        self.path = path

    def environ(self) -> dict[str, str]:
        return super().environ() | {"ORDERAPI_BIND": f"unix:{self.path}"}

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(str(self.path))
        return connection

    def is_healthy(self) -> bool:
        try:
            with self.connect() as connection:
                connection.sendall(raw_request("GET", "/healthz"))
                return connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


@contextmanager
def on_path(directory: Path, path: Path) -> Iterator[OnPath]:
    server = OnPath(directory, path)
    server.start(wait=False)
    try:
        wait_until(server.is_healthy, server.log_path.read_text())
        yield server
    finally:
        if server.process is not None:
            server.process.kill()
            server.process.wait()


def refused(server: Server) -> str:
    """Start a server, assert that it ends with status 1, and give the last message of its log."""
    server.start(wait=False)
    assert server.process is not None
    assert server.process.wait(30) == 1
    return str(server.log_lines()[-1]["message"])


def test_a_start_on_the_path_of_a_running_service_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with on_path(tmp_path / "first", path) as first:
        file = path.stat().st_ino
        line = refused(OnPath(tmp_path / "second", path))
        assert line.startswith("cannot start: ORDERAPI_BIND: cannot listen on ")
        assert str(path) in line
        assert first.is_healthy()
        assert path.stat().st_ino == file
        assert first.stop() == 0
    assert not path.exists()


def test_of_two_starts_at_once_one_serves_and_the_other_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    servers = [OnPath(tmp_path / str(number), path) for number in range(2)]
    for server in servers:
        server.start(wait=False)
    processes = [server.process for server in servers if server.process is not None]
    wait_until(lambda: sum(process.poll() == 1 for process in processes) == 1)
    (serving,) = [server for server in servers if server.process and server.process.poll() is None]
    wait_until(serving.is_healthy)
    assert serving.stop() == 0


def test_a_second_start_waits_until_the_first_one_listens_on_the_path(tmp_path: Path) -> None:
    """Otherwise both starts could find that no service listens there."""
    first, second = (Address(f"unix:{tmp_path}/http.sock") for _ in range(2))
    first.reserve()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second.reserve)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        first.release()
        waiting.result(20)
    second.release()


def test_a_start_on_a_port_of_a_running_service_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Server(tmp_path / "second")
    second.port = server.port
    assert str(server.port) in refused(second)
    assert server.request("GET", "/healthz").status == 200


def test_the_socket_of_a_killed_service_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with on_path(tmp_path / "first", path) as first:
        first.kill()
    assert path.is_socket()
    with on_path(tmp_path / "first", path) as again:
        assert again.stop() == 0


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_stop_removes_no_socket_of_another_service_and_ends_no_request(
    tmp_path: Path, is_replaced: bool
) -> None:
    """Before the stop, the socket's file is deleted, or replaced by that of another service."""
    path = tmp_path / "http.sock"
    with on_path(tmp_path / "first", path) as server, server.connect() as connection:
        connection.sendall(raw_order("first", ORDER_BODY))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
        with held(server.database):
            connection.sendall(raw_order("in-flight", ORDER_BODY))
            time.sleep(0.3)
            path.unlink()
            if is_replaced:
                other = socket.socket(socket.AF_UNIX)
                other.bind(str(path))
            assert server.process is not None
            server.process.terminate()
            time.sleep(0.3)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
        assert server.stop() == 0
        assert {line["level"] for line in server.log_lines()} == {"INFO"}
    assert path.exists() is is_replaced
