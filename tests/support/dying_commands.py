"""Run a command again and again, each time killed one step later, until it gets to its end.

`python -m tests.support.dying_commands CASES TEMPLATE FIRST ARGUMENTS...` runs `orderapi ARGUMENTS`
in copies of the directory TEMPLATE, which it makes in the directory CASES, numbered from 1. A step
is what Python does to a file: the process is gone, by SIGKILL, before it does it. FIRST is the kind
of step from which on they count.
"""

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

from orderapi.cli.commands import main

STEPS = {
    "fcntl.flock", "fcntl.lockf", "os.chmod", "os.chown", "os.link", "os.remove", "os.rename",
    "os.truncate", "sqlite3.connect",
}  # fmt: skip


def run_killed_at_each_step(cases: Path, template: Path, first: str, arguments: list[str]) -> int:
    """Give the exit code of the run that was not killed."""
    for step in count(1):
        case = cases / str(step)
        shutil.copytree(template, case)
        child = os.fork()
        if not child:
            os.chdir(case)
            _die_at(step, first, str(case))
            main(arguments)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError


def _die_at(step: int, first: str, case: str) -> None:
    left, counts = step, False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left, counts
        counts = counts or event == first
        if event in STEPS or (event == "open" and str(arguments[0]).startswith(case)):
            left -= counts
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    _, cases, template, first, *arguments = sys.argv
    sys.exit(run_killed_at_each_step(Path(cases), Path(template), first, arguments))
