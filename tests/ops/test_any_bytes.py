"""Any bytes in a setting or an argument are either refused in one line, or accepted."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.errors import SettingsInvalid
from orderapi.settings import read_settings
from tests.support.backup_files import ORDERAPI, findings, keys_in, with_orders
from tests.support.running import environ_with, serving

SETTINGS = [
    "DATABASE_URL",
    "BIND",
    "WORKERS",
    "AUTH",
    "FAULT_INJECTION",
    "LOG_LEVEL",
    "WEBHOOK_URL",
    "WEBHOOK_SECRET",
    "URL",
    "TOKEN",
]
STARTS = ["", "sqlite:///", "unix:/", "127.0.0.1:", "http://", "https://[", "whsec_"]

# An environment variable or an argument contains any byte but NUL (execve(2)).
texts = st.binary(max_size=60).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))


@given(st.sampled_from(SETTINGS), st.sampled_from(STARTS), texts)
def test_a_setting_of_any_bytes_is_read_or_refused_in_one_line(
    name: str, start: str, text: str
) -> None:
    refused = refusal({f"ORDERAPI_{name}": start + text})
    if refused is not None:
        assert refused.startswith(f"ORDERAPI_{name}: ")
        assert refused.isprintable()
        if name in ("WEBHOOK_URL", "WEBHOOK_SECRET") and len(text) > 20:
            assert text not in refused


def refusal(environ: dict[str, str]) -> str | None:
    try:
        read_settings(environ)
    except SettingsInvalid as error:
        return str(error)
    return None


@given(texts)
def test_an_unknown_name_of_any_bytes_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings({f"ORDERAPI_{name}": "1"})
    assert str(caught.value).isprintable()


NASTY = {
    "control": b"\xff\n\x1b[2J\x07",
    "long": b"\xff" * 5_000,
    "empty": b"",
}
COMMANDS: dict[str, list[bytes]] = {
    "verify": [b"verify", b"@"],
    "verify with a host": [b"verify", b"http://@:1"],
    "token file": [b"verify", b"--token-file", b"@"],
    "audit": [b"audit", b"--database", b"sqlite:///@"],
    "backup": [b"backup", b"@"],
    "restore": [b"restore", b"@"],
    "restore into": [b"restore", b"backup.db", b"--database", b"sqlite:///@/orders.db"],
    "relay": [b"relay", b"--database", b"sqlite:///@"],
    "from": [b"relay", b"--from", b"@"],
    "client": [b"token", b"create", b"@"],
    "label": [b"token", b"create", b"shop", b"--label", b"@"],
    "expiry": [b"token", b"create", b"shop", b"--expires", b"@"],
    "token id": [b"token", b"revoke", b"@"],
}


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_argument_of_any_bytes_is_refused_in_one_line_or_works(
    tmp_path: Path, command: str, text: str
) -> None:
    with_orders(tmp_path / "orders.db", "key-1")
    arguments = [each.replace(b"@", NASTY[text]) for each in COMMANDS[command]]
    done = subprocess.run(
        [ORDERAPI.encode(), *arguments],
        cwd=tmp_path,
        env=environ_with(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    stderr = done.stderr.decode()
    assert done.returncode in (0, 1, 2), stderr
    assert "Traceback" not in stderr
    if done.returncode:
        last = stderr.splitlines()[-1] if stderr else done.stdout.decode().splitlines()[-1]
        assert last.isprintable()
        # A wrong argument gets the lines about the usage before its own.
        assert stderr.count("\n") <= 1 or stderr.startswith("Usage: ")


def test_a_path_of_any_bytes_works(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"\xff %41\x1b\n'")
    directory.mkdir()
    database = directory / os.fsdecode(b"orders\xfe%.db")
    with serving(directory, DATABASE_URL=f"sqlite:///{database}") as server:
        assert server.order("key").status == 201
        backup = directory / os.fsdecode(b"backup\xfd\n.db")
        assert run("backup", backup, database=database) == 0
    assert run("audit", database=database) == 0
    assert run("restore", "--force", backup, database=database) == 0
    assert keys_in(database) == {"key"}
    assert findings(database) == []


def run(*arguments: str | Path, database: Path) -> int:
    """Run a command whose output must be text, and return its exit code."""
    command = [ORDERAPI, *arguments, "--database", f"sqlite:///{database}"]
    done = subprocess.run(command, env=environ_with(), capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
    assert all(line.isprintable() for line in done.stdout.decode().splitlines())
    return done.returncode
