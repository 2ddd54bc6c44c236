"""The description of the machine, without which no figure can be compared."""

import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROBES = 50
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# The fields utime, stime, cutime and cstime in /proc/<pid>/stat, counted from the field after the
# command's name (proc(5)). The last two are the time of children that have ended.
_TIMES = slice(11, 15)


def describe(directory: Path, cores: list[int]) -> str:
    """Describe the machine in a few lines of Markdown.

    `directory` is where the databases are. `cores` are those on which everything runs.
    """
    node = _output("node", "--version") if shutil.which("node") else "none"
    return (
        f"- Processor: {_processor()}. The servers and the load generator share {len(cores)} of"
        f" {os.cpu_count()} cores. The load average was {os.getloadavg()[0]:.1f} before the run.\n"
        f"- Disk: {_file_system(directory)} on Linux {platform.release()}. To append 4 KiB with"
        f" fdatasync takes {_fsync_ms(directory):.2f} ms (median).\n"
        f"- Software: Python {platform.python_version()} with SQLite {sqlite3.sqlite_version},"
        f" node {node}, {_output('wrk', '-v').splitlines()[0].split('Copyright')[0].strip()}."
    )


def busy_s(cores: Iterable[int]) -> float:
    """Return how long these cores have been busy so far, in seconds.

    This includes the time that the hypervisor gave to other machines (proc(5), "steal").
    """
    names = {f"cpu{core}" for core in cores}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, values[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / _TICKS_PER_S


def tree(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """Return the user and system time that a process and its descendants have used, in seconds."""
    ticks = 0
    for process in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(value) for value in fields[_TIMES])
    return ticks / _TICKS_PER_S


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _file_system(directory: Path) -> str:
    """Return the type of a directory's file system, because in memory an fsync costs nothing."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    path = str(directory.resolve())
    holding = [(m[1], m[2]) for m in mounts if (path + "/").startswith(m[1].rstrip("/") + "/")]
    return max(holding, key=lambda mount: len(mount[0]))[1] if holding else "unknown"


def _fsync_ms(directory: Path) -> float:
    probe = directory / "fsync-probe"
    times = []
    with probe.open("wb", buffering=0) as file:
        for _ in range(_PROBES):
            file.write(b"\0" * 4096)
            began_at = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began_at)
    probe.unlink()
    return statistics.median(times) * 1000


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
