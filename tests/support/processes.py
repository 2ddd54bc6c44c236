"""All processes of one server at once: found, stopped, and killed as a power cut does."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import wait_until


def working_in(directory: Path) -> list[int]:
    """Give the processes whose working directory is `directory`.

    All processes of a PostgreSQL server work in its data directory.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended meanwhile
            if (entry / "cwd").readlink() == directory:
                found.append(int(entry.name))
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all(pids: Iterable[int]) -> None:
    """End processes as a power cut does: none of them acts on the death of another one.

    They are all stopped first, because each could otherwise tell its peers that it ends.
    """
    known = list(pids)
    send(known, signal.SIGSTOP)
    send(known, signal.SIGKILL)
    wait_until(lambda: not any(map(_is_running, known)), "the end of all killed processes")


def _is_running(pid: int) -> bool:
    with suppress(OSError):
        # The state is the field after the name in parentheses (proc(5)). Z is a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False
