"""The programs on the page for callers and receivers run as they are printed."""

import base64
import http.client
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook

from orderapi.client import OrderClient
from tests.support.ports import free_port
from tests.support.running import REPOSITORY, Server
from tests.support.waiting import awake_s

PAGE = REPOSITORY / "orderapi/client/README.md"
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another").decode()


def printed(marker: str) -> str:
    """Give the one Python program on the page that contains a text."""
    programs = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    (program,) = [program for program in programs if marker in program]
    return str(program)


def test_the_client_s_program_orders_once_and_can_be_run_again(
    server: Server, tmp_path: Path
) -> None:
    program = printed("client.create(")
    here = program.replace("http://127.0.0.1:8000", server.url)
    assert here != program

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
        )

    # The program dies after the call, before it deletes the job.
    assert run(here.replace("print(order", "1 / 0\nprint(order")).returncode == 1
    assert run(here).stdout.endswith("(a replay)\n")
    assert server.counts()["orders"] == 1
    assert run(here).stdout.endswith("(new)\n")
    assert server.counts()["orders"] == 2

    server.stop()
    gave_up = run(here.replace("deadline_s=60", "deadline_s=0.5"))
    assert gave_up.returncode == 1
    assert re.fullmatch(r"run it again, whenever you like: no result .*\n", gave_up.stderr)
    saved = json.loads((tmp_path / "job.json").read_text())
    assert saved["key"] in gave_up.stderr


def test_the_reader_s_program_continues_where_it_was(server: Server, tmp_path: Path) -> None:
    program = printed("client.events(").replace("http://127.0.0.1:8000", server.url)
    made = []
    with OrderClient(server.url) as client:
        for items in (["a", "b"], ["c"]):
            made += [client.create("cust1", item, 1).order_id for item in items]
            with reading(program, tmp_path) as lines:
                for order_id in made[len(made) - len(items) :]:
                    assert order_id in next(lines)
    with sqlite3.connect(tmp_path / "reader.db") as db:
        known = db.execute("SELECT order_id, sequence FROM known ORDER BY sequence").fetchall()
    assert known == list(zip(made, [1, 2, 3], strict=True))


@contextmanager
def reading(program: str, directory: Path) -> Iterator[Iterator[str]]:
    """Run the reader, give the lines that it prints, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=directory,
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        yield process.stdout
    finally:
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
    assert rest == ""


def test_the_receiver_discards_repeated_and_unsigned_deliveries(tmp_path: Path) -> None:
    (tmp_path / "receiver.py").write_text(printed("from orderapi.webhooks import"))
    with receiving(tmp_path) as port:
        events = ["event-1", "event-2", "event-1", "event-2"]
        assert [deliver(port, event) for event in events] == [204] * 4
        assert deliver(port, "event-3", secret=OTHER_SECRET) == 400
    told = (tmp_path / "receiver.out").read_text().splitlines()
    assert [line for line in told if "new:" in line] == ["new: event-1", "new: event-2"]


def test_the_receiver_has_at_most_twenty_lines() -> None:
    lines = [line for line in printed("from orderapi.webhooks import").splitlines() if line.strip()]
    assert len(lines) <= 20


@contextmanager
def receiving(directory: Path) -> Iterator[int]:
    """Run the receiver as the page says, and give its port."""
    port = free_port()
    flask = [str(Path(sys.executable).parent / "flask"), "--app", "receiver", "run", "--port"]
    environ = os.environ | {"WEBHOOK_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
    with (directory / "receiver.out").open("wb") as out:
        process = subprocess.Popen(
            [*flask, str(port)], cwd=directory, env=environ, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        give_up_at = awake_s() + 20
        while True:
            assert awake_s() < give_up_at
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def deliver(port: int, event_id: str, secret: str = SECRET) -> int:
    body = json.dumps({"id": event_id, "subject": "order-1", "data": event_id})
    now = datetime.now(UTC)
    headers = {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/webhook", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status
