"""The shell scripts of the deployment."""

import re
import subprocess

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
