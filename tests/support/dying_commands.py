"""Run a command repeatedly. Each run is killed one step later, until a run reaches its end.

`python -m tests.support.dying_commands CASES TEMPLATE FIRST LACKING ARGUMENTS...` runs `orderapi
ARGUMENTS` in copies of the directory TEMPLATE. It makes the copies in the directory CASES and
numbers them from 1. A step is an operation of Python on a file. SIGKILL ends the process
immediately before it. Steps count from the first one of the kind FIRST on. LACKING is empty, or it
is as in `tests.support.without_links`.
"""

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

from orderapi.cli.commands import main
from tests.support import without_links

STEPS = {
    "fcntl.flock", "fcntl.lockf", "os.chmod", "os.chown", "os.link", "os.remove", "os.rename",
    "os.truncate", "sqlite3.connect",
}  # fmt: skip


def run_killed_at_each_step(
    cases: Path, template: Path, first: str, lacking: str, arguments: list[str]
) -> int:
    """Return the exit code of the run that was not killed."""
    for step in count(1):
        case = cases / str(step)
        shutil.copytree(template, case)
        child = os.fork()
        if not child:
            os.chdir(case)
            _die_at(step, first, str(case))
            if lacking:
                without_links.refuse(lacking)
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
        if (
            event in STEPS
            or (event == "open" and str(arguments[0]).startswith(case))
            or (event == "ctypes.dlsym" and "renameat2" in arguments)
        ):
            left -= counts
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    _, cases, template, first, lacking, *arguments = sys.argv
    sys.exit(run_killed_at_each_step(Path(cases), Path(template), first, lacking, arguments))
