"""A command works although its standard streams are closed, full, or without a reader."""

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.backup_files import ORDERAPI, findings, keys_in, with_orders
from tests.support.placing import place
from tests.support.relay_receiver import SECRET, position, receiving
from tests.support.running import environ_with

STREAMS = ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-", "1>/dev/full", "2>/dev/full"]
STREAMS += ["1>/dev/full 2>&1", "| true", "2>&1 | true"]
SOME_STREAMS = ["1>&-", "2>&-", "1>/dev/full 2>&1", "2>&1 | true"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return with_orders(tmp_path / "orders.db", "key-1", "key-2")


def run_in_shell(
    streams: str, *arguments: str | Path, database: Path, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command in a shell. `streams` are the redirections of its streams."""
    script = f'"$@" {streams}; exit "${{PIPESTATUS[0]}}"'
    environ = environ_with(DATABASE_URL=f"sqlite:///{database}", **settings)
    return subprocess.run(
        ["bash", "-c", script, "bash", ORDERAPI, *map(str, arguments)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with enough findings to fill a pipe."""
    database = with_orders(tmp_path_factory.mktemp("broken") / "orders.db", "key-1", "key-2")
    with closing(SqliteStore(database)) as store:
        for number in range(500):
            place(store, f"more-{number}")
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("UPDATE events SET type = 'x'")
    return database


@pytest.mark.parametrize("streams", STREAMS)
def test_an_audit_exits_with_its_verdict(database: Path, broken: Path, streams: str) -> None:
    assert run_in_shell(streams, "audit", database=database).returncode == 0
    shutil.copy(broken, database)
    assert run_in_shell(streams, "audit", database=database).returncode == 1


@pytest.mark.parametrize("streams", STREAMS)
def test_a_backup_is_made_and_restored(database: Path, tmp_path: Path, streams: str) -> None:
    file = tmp_path / "backup.db"
    done = run_in_shell(streams, "backup", file, database=database)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert findings(file) == []
    restored = tmp_path / "restored.db"
    done = run_in_shell(streams, "restore", file, database=restored)
    assert done.returncode == 0, done.stderr
    assert keys_in(restored) == {"key-1", "key-2"}


@pytest.mark.parametrize("streams", SOME_STREAMS)
def test_the_relay_delivers(database: Path, streams: str) -> None:
    with receiving() as receiver:
        done = run_in_shell(
            streams,
            "relay",
            "--once",
            database=database,
            WEBHOOK_URL=receiver.url,
            WEBHOOK_SECRET=SECRET,
        )
        assert done.returncode == 0, done.stderr
        assert receiver.taken() == [1, 2]
    assert position(database) == 2


@pytest.mark.parametrize("streams", SOME_STREAMS)
@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["nonsense"], 2), (["verify", "ftp://host"], 2)]
)
def test_help_and_wrong_use_have_their_exit_codes(
    database: Path, streams: str, arguments: list[str], code: int
) -> None:
    done = run_in_shell(streams, *arguments, database=database)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_full_disk_behind_stdout_is_reported(database: Path) -> None:
    done = run_in_shell("1>/dev/full", "audit", database=database)
    assert done.stderr == "Error: cannot write to stdout: No space left on device\n"


def test_a_pipe_whose_reader_has_ended_is_not_reported(database: Path, broken: Path) -> None:
    shutil.copy(broken, database)
    assert run_in_shell("| true", "audit", database=database).stderr == ""


@pytest.mark.parametrize("streams", ["1>&-", "1>/dev/full"])
def test_a_token_that_could_not_be_shown_is_an_error(database: Path, streams: str) -> None:
    done = run_in_shell(streams, "token", "create", "shop", database=database)
    assert done.returncode == 1
    (token_id,) = re.findall(r"revoke it: orderapi token revoke (\d+)", done.stderr)
    assert run_in_shell("", "token", "revoke", token_id, database=database).returncode == 0


def test_no_file_of_the_command_gets_the_descriptor_of_a_closed_stream(database: Path) -> None:
    """Otherwise messages of the C library would be written into a database."""
    code = (
        "import os, sys\n"
        "from orderapi.cli.streams import protected\n"
        "for descriptor in range(3): os.close(descriptor)\n"
        "with protected():\n"
        "    os._exit(os.open(sys.argv[1], os.O_RDWR))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, database], check=False)
    assert done.returncode >= 3
