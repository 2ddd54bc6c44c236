"""A command shows its progress on a terminal, and nowhere else."""

import os
import pty
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.audited import break_invariant
from tests.support.backup_files import ORDERAPI, with_orders
from tests.support.front import run


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A sound database with three orders, which no process serves."""
    return with_orders(tmp_path / "orders.db", "key-1", "key-2", "key-3")


def test_audit_shows_progress_on_a_terminal_and_nowhere_else(database: Path) -> None:
    break_invariant(database)
    code, screen, stdout = on_a_terminal("audit", "--database", f"sqlite:///{database}")
    assert code == 1
    assert "auditing  [" in screen
    assert "100%" in screen
    assert "[" not in stdout
    assert "3 orders" in stdout
    piped = run("--database", f"sqlite:///{database}", command="audit")
    assert piped.stdout == stdout
    assert piped.stderr == ""


def test_backup_and_restore_show_their_stages_on_a_terminal(database: Path) -> None:
    file = database.with_name("backup.db")
    for command in (["backup", str(file)], ["restore", "--force", str(file)]):
        code, screen, stdout = on_a_terminal(*command, "--database", f"sqlite:///{database}")
        assert code == 0
        assert re.search(r"copying  \[#+\]  100%.*auditing  \[#+\]  100%", screen, re.DOTALL)
        assert "[" not in stdout


def test_a_copy_shows_its_progress_and_its_rate_on_a_terminal(database: Path) -> None:
    urls = [f"sqlite:///{path}" for path in (database, database.with_name("copy.db"))]
    code, screen, stdout = on_a_terminal("copy", *urls)
    assert code == 0
    assert re.search(r"copying rows  \[#+\]  100%  [0-9,]+/s.*auditing  \[#+\]  100%", screen, re.S)
    assert "[" not in stdout


def on_a_terminal(*arguments: str) -> tuple[int, str, str]:
    """Run a command with a terminal as stderr. Return the exit code, that output, and stdout."""
    terminal, stderr = pty.openpty()
    try:
        done = subprocess.run(
            [ORDERAPI, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={"PATH": os.environ["PATH"], "TERM": "xterm"},
            check=False,
            text=True,
        )
    finally:
        os.close(stderr)
    screen = b""
    with suppress(OSError):  # EIO means that all output was read.
        while part := os.read(terminal, 65536):
            screen += part
    os.close(terminal)
    return done.returncode, screen.decode(), done.stdout
