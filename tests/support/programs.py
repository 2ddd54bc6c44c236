"""Programs that tests need, and that are not Python packages: nginx, shellcheck, strace."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Gives the path of the program with the first name, from the package with the second one.
Program = Callable[[str, str], str]

_APT_LOCK = Path(tempfile.gettempdir()) / f"orderapi-tests-apt-{os.getuid()}.lock"
_APT_ENVIRON = {"DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}  # starts no service


def find_or_install(name: str, package: str) -> str:
    """Give the path of a program. Install its package with apt first if that is possible.

    Skips the test if the program is not there and cannot be installed.
    """
    with _APT_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process of the test run at a time
        path = _find(name)
        if path is None:
            _install(package)
            path = _find(name)
    assert path is not None, f"the package {package} has no {name}"
    return path


def _find(name: str) -> str | None:
    # On Debian, the path of a user contains neither /usr/sbin nor the programs of PostgreSQL.
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    directories = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, postgres)]
    return shutil.which(name, path=":".join(directories))


def _install(package: str) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    may = not as_root or _succeeds("sudo", "-n", "true")
    if not may or _find("apt-get") is None:
        pytest.skip(f"needs the package {package}, which is not installed, and apt needs root")
    apt = [*as_root, "env", *(f"{k}={v}" for k, v in _APT_ENVIRON.items()), "apt-get", "--quiet"]
    apt += ["--option", "DPkg::Lock::Timeout=60"]
    install = [*apt, "install", "--yes", "--no-install-recommends", package]
    if not _succeeds(*install) and not (_succeeds(*apt, "update") and _succeeds(*install)):
        pytest.skip(f"apt cannot install the package {package}: run {' '.join(install)}")


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=100).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
