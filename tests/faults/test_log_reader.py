"""If the reader of the log stops reading, neither a request nor a stop waits for it."""

import json
import os
import pty
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.engines import Engine
from tests.support.proof import assert_exactly_once
from tests.support.running import Server, started

pytestmark = pytest.mark.without_pgbouncer(
    "the log is what fails here, and the pool of connections is not concerned"
)

# A pipe holds the lines of about 220 requests.
REQUESTS = 300


@contextmanager
def unread_pipe(directory: Path) -> Iterator[tuple[int, int]]:
    """A named pipe that is open for reading, and from which nothing is read."""
    path = directory / "log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    os.set_blocking(reader, True)
    yield reader, writer
    os.close(reader)


@contextmanager
def stopped_terminal(_: Path) -> Iterator[tuple[int, int]]:
    """A terminal whose user has pressed Ctrl-S."""
    reader, writer = pty.openpty()
    termios.tcflow(writer, termios.TCOOFF)
    yield reader, writer
    os.close(reader)


@pytest.mark.parametrize("unread", [unread_pipe, stopped_terminal])
def test_requests_and_a_stop_do_not_wait_for_the_reader_of_the_log(
    unread: Callable[[Path], AbstractContextManager[tuple[int, int]]],
    tmp_path: Path,
    engine: Engine,
) -> None:
    server = Server(tmp_path, engine)
    with unread(tmp_path) as (_, writer):
        with started(server, stderr=writer):
            made = {}
            for number in range(REQUESTS):
                answer = server.order(f"key-{number}")
                assert answer.status == 201
                made[f"key-{number}"] = answer.body
            assert server.request("GET", "/healthz").status == 200
            assert server.stop() == 0
        os.close(writer)
    assert_exactly_once(server.engine, made)


def test_the_log_continues_when_its_reader_reads_again(tmp_path: Path) -> None:
    server = Server(tmp_path, WORKERS="1")
    received = b""
    with unread_pipe(tmp_path) as (reader, writer), started(server, stderr=writer):
        os.close(writer)
        for number in range(REQUESTS):
            server.request("GET", "/healthz", headers={"X-Request-ID": f"id-{number}"})
        while b'"id-%d"' % (REQUESTS - 1) not in received:
            received += os.read(reader, 65536)
        assert server.stop() == 0
        while data := os.read(reader, 65536):
            received += data
    lines = [json.loads(line) for line in received.splitlines()]
    ids = [line["request_id"] for line in lines if line.get("path") == "/healthz"]
    assert [each for each in ids if each.startswith("id-")] == [f"id-{n}" for n in range(REQUESTS)]
    assert any("Shutting down" in line["message"] for line in lines)
