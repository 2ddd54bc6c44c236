"""What was measured on: without it no figure means anything."""

import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import time
from pathlib import Path

_PROBES = 50


def describe(directory: Path, cores: list[int]) -> str:
    """Say it in a few lines of Markdown; `directory` is where the databases will lie."""
    node = _output("node", "--version") if shutil.which("node") else "none"
    return (
        f"- {_processor()}, {len(cores)} cores: the load on core {cores[0]}, the servers on the"
        f" other {len(cores) - 1}; load average {os.getloadavg()[0]:.1f} before\n"
        f"- Linux {platform.release()}, {_file_system(directory)}; appending 4 KiB and fdatasync"
        f" takes {_fsync_ms(directory):.2f} ms (median)\n"
        f"- Python {platform.python_version()}, its SQLite {sqlite3.sqlite_version}; node {node};"
        f" {_output('wrk', '-v').splitlines()[0].split('Copyright')[0].strip()}"
    )


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _file_system(directory: Path) -> str:
    """Name the file system of a directory; one in memory would make every fsync free."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    path = str(directory.resolve())
    holding = [(m[1], m[2]) for m in mounts if (path + "/").startswith(m[1].rstrip("/") + "/")]
    return max(holding, key=lambda mount: len(mount[0]))[1] if holding else "?"


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
