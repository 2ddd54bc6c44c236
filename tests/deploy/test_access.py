"""`python -m deploy.access`: the first token of a new machine, and who may use an old one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from orderapi.records import PUBLIC_CLIENT
from orderapi.settings import read_settings
from tests.support.programs import Program
from tests.support.running import REPOSITORY, Server, environ_with, serving
from tests.support.tokens import create, get, order

TOKEN = re.compile(r"oapi_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}")


def test_the_shipped_settings_require_tokens_and_inject_no_faults() -> None:
    lines = (REPOSITORY / "deploy/orderapi.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert read_settings(settings).auth == "required"
    assert not read_settings(settings).fault_injection


def settle(
    database: Path, *, stdout: int = subprocess.PIPE, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.access"],
        cwd=REPOSITORY,
        env=environ_with(DATABASE_URL=f"sqlite:///{database}", **settings),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )


def test_a_machine_that_requires_tokens_gets_its_first_one_once(tmp_path: Path) -> None:
    with serving(tmp_path, AUTH="required") as server:
        first = settle(server.database, AUTH="required")
        assert (first.returncode, first.stderr) == (0, "")
        (token,) = set(TOKEN.findall(first.stdout))
        # The token works at once, and its client is the one that owns what was made without tokens.
        assert order(server, "key-1", token).status == 201
        assert server.rows("SELECT client_id FROM idempotency_keys") == [(PUBLIC_CLIENT,)]
        again = settle(server.database, AUTH="required")
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_the_printed_command_places_an_order_and_shows_the_token_to_no_process(
    tmp_path: Path, program: Program
) -> None:
    curl, arguments = program("curl", "curl"), tmp_path / "arguments"
    noting = tmp_path / "programs" / "curl"
    noting.parent.mkdir()
    noting.write_text(f'#!/bin/sh\nenv >{arguments}\necho "$@" >>{arguments}\nexec {curl} "$@"\n')
    noting.chmod(0o755)
    with serving(tmp_path, AUTH="required") as server:
        said = settle(server.database, AUTH="required", URL=server.url).stdout
        (printed,) = re.findall(r"^    printf .*?}'$", said, re.M | re.S)
        done = subprocess.run(
            ["/bin/sh", "-c", "\n".join(("set -eu", *map(str.strip, printed.splitlines())))],
            env=environ_with() | {"PATH": f"{noting.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout.startswith("HTTP/1.1 201 "), done.stderr
    (token,) = set(TOKEN.findall(said))
    assert "Idempotency-Key: test-123" in arguments.read_text()
    assert token not in arguments.read_text()


def test_a_machine_without_tokens_is_told_in_one_line_how_to_require_them(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.order("key-1").status == 201
        told = settle(server.database)
        assert (told.returncode, told.stderr) == (0, "")
        (line,) = told.stdout.splitlines()
        steps = ("token create public`", "ORDERAPI_AUTH=required", "systemctl restart orderapi`")
        places = [line.index(step) for step in steps]
        assert places == sorted(places)
        assert server.rows("SELECT COUNT(*) FROM tokens") == [(0,)]
        # The steps of the line give access to the orders that were made without tokens.
        _, token = create(server.engine, PUBLIC_CLIENT)
        server.stop()
        server.settings |= {"AUTH": "required"}
        server.start()
        try:
            assert get(server, "/orders", token).json["orders"]
        finally:
            server.kill()


def test_where_there_were_tokens_none_is_created(guarded: Server) -> None:
    create(guarded.engine, "shop", expires="1s")
    told = settle(guarded.database, AUTH="required")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    assert guarded.rows("SELECT client_id FROM tokens") == [("shop",)]


def test_a_token_that_cannot_be_shown_is_revoked(guarded: Server) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = settle(guarded.database, AUTH="required", stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("the first token was revoked, because it could not be shown: ")
    assert guarded.rows("SELECT revoked_at IS NULL FROM tokens") == [(0,)]


def test_a_database_that_cannot_be_used_is_reported_in_one_line(guarded: Server) -> None:
    guarded.stop()
    shutil.copy(__file__, guarded.database)
    done = settle(guarded.database, AUTH="required")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("no token was created, because the database cannot be used: ")
