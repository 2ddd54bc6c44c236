"""`make bench` measures real processes: their processor time, and load that is checked."""

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.bench.console import add_rare_clients
from tests.bench.console_pages import PAGES, known_orders
from tests.bench.contenders import Contender, Start
from tests.bench.growth import fill
from tests.bench.service import Place, serving
from tests.support.console_pages import entered
from tests.support.running import REPOSITORY

# A server whose child has used half a second of processor time before the server answers.
BUSY_CHILD = """
import http.server, os, sys, time
done, signal_done = os.pipe()
if os.fork() == 0:
    while time.process_time() < 0.5:
        pass
    os.write(signal_done, b"1")
    time.sleep(60)
    os._exit(0)
os.read(done, 1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
"""


def test_the_processor_time_of_a_child_process_counts(tmp_path: Path) -> None:
    def start(_: Path, port: int) -> Start:
        return Start([sys.executable, "-c", BUSY_CHILD, str(port)])

    with serving(Contender("busy", "a busy child", start), tmp_path, Place()) as service:
        # /proc counts in steps of 10 ms.
        assert service.cpu_s() >= 0.45


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_run_prints_its_tables(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--contenders", "orderapi", "--clients", "64"]
    command += ["--rounds", "1", "--seconds", "0.5", "--warm-up", "0.5", "--cores", "1"]
    environ = os.environ | {"BENCH_DIRECTORY": str(tmp_path)}
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    for title in (
        "New orders, 64 clients",
        "Replays, 64 clients",
        "Reads of one order, 64 clients",
    ):
        assert f"**{title}**" in ended.stdout
    assert "| orderapi |" in ended.stdout


def test_each_page_of_the_console_that_is_measured_shows_what_it_was_asked_for(
    tmp_path: Path,
) -> None:
    filled = fill(tmp_path, 20_000)
    add_rare_clients(filled)
    # All other orders are older than this one by seconds.
    known = max(known_orders(filled, 100), key=lambda each: each.sequence)
    with closing(SqliteStore(filled, read_only=True)) as store:
        console = entered(store)
        for title, path in PAGES.items():
            answer = console.get(path(known))
            assert answer.status_code in (200, 303), title
            nothing = "Nothing has this id" in answer.text or 'class="empty"' in answer.text
            assert nothing == ("has none" in title or "nothing has" in title), title
