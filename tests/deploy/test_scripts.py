"""The shell scripts of the deployment."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.pages import BY_PATH
from tests.support.programs import Program
from tests.support.running import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "deploy").rglob("*.sh"))


def test_shellcheck_reports_nothing_about_the_scripts(program: Program) -> None:
    command = [program("shellcheck", "shellcheck"), "--external-sources", *map(str, SCRIPTS)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_each_refusal_of_the_installation_is_explained() -> None:
    """The table has the line as it is in the script, with three dots for each variable part."""
    code = "\n".join(script.read_text() for script in SCRIPTS)
    refusals = re.findall(r'die "(nothing was changed(?:[^"$]|\$\([^)]*\)|\$)*)"', code)
    assert len(refusals) == code.count('die "nothing was changed')
    lines = {re.sub(r"\$\([^)]*\)|\$\w+", "...", refusal) for refusal in refusals}
    explained = {
        message.strip("`") for message, _ in BY_PATH["deploy/README.md"].rows("| message |")
    }
    assert lines == explained


def test_a_wrong_option_is_answered_with_the_right_ones() -> None:
    install = str(REPOSITORY / "deploy/install.sh")
    wrong = subprocess.run([install, "--unistall"], capture_output=True, text=True, timeout=10)
    right = subprocess.run([install, "--help"], capture_output=True, text=True, timeout=10)
    assert (wrong.returncode, right.returncode) == (2, 0)
    assert wrong.stderr == right.stdout
    assert "--uninstall" in right.stdout


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("exit 0", 0),
        ("exit 2", 2),
        ("kill -HUP $$", 129),
        ("kill -INT $$", 130),
        ("kill -TERM $$", 143),
        ("kill -TERM $PPID; exit 1", 1),  # the shell around the command waits for it
    ],
)
def test_a_command_that_a_signal_ended_did_not_succeed(
    tmp_path: Path, program: str, status: int
) -> None:
    """systemd-run exits with 0 after these signals, so the command must not end by one of them."""
    # The first one runs only what follows the options. The second one lets the script be root.
    stand_ins = {
        "systemd-run": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "id": "echo 0",
        "orderapi": program,
    }
    for name, code in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / name).chmod(0o755)
    script = (REPOSITORY / "deploy/orderapi.sh").read_text()
    installed = "/opt/orderapi/current/.venv/bin/orderapi"
    assert script.count(installed) == 1
    code = script.replace(installed, str(tmp_path / "orderapi"))
    # A shell cannot handle a signal that was ignored when it began, as SIGHUP is under nohup.
    defaults = ["env", "--default-signal=HUP,INT,TERM"]
    done = subprocess.run(
        [*defaults, "/bin/sh", "-c", code, "orderapi"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        timeout=10,
    )
    assert done.returncode == status
