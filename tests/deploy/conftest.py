import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.nginx_site import ServerBehind, Site, new_site, serving_behind
from tests.support.upstream import Upstream, listening

_APT_LOCK = Path(tempfile.gettempdir()) / f"orderapi-tests-apt-{os.getuid()}.lock"
_APT_ENVIRON = {"DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}  # starts no service

Program = Callable[[str, str], str]


@pytest.fixture(scope="session")
def program() -> Program:
    """Give the path of a program, which apt installs from the named package where it may."""
    return _find_or_install


@pytest.fixture(scope="session")
def nginx(program: Program) -> str:
    return program("nginx", "nginx")


@pytest.fixture
def site(nginx: str) -> Iterator[Site]:
    """The shipped site, with nothing behind it."""
    with new_site(nginx) as site:
        site.start()
        yield site


@pytest.fixture
def upstream(site: Site) -> Iterator[Upstream]:
    """Something behind `site` that fails as it is told to."""
    with listening(site.socket) as upstream:
        yield upstream


def _find_or_install(name: str, package: str) -> str:
    with _APT_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of the test run's processes at a time
        path = _find(name)
        if path is None:
            _install(package)
            path = _find(name)
    assert path is not None, f"the package {package} has no {name}"
    return path


def _find(name: str) -> str | None:
    # Debian leaves /usr/sbin out of an ordinary user's path.
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _install(package: str) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    may = not as_root or _succeeds("sudo", "-n", "true")
    if not may or _find("apt-get") is None:
        pytest.skip(f"wants the package {package}: not installed, and no apt as root to install it")
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


@pytest.fixture(scope="module")
def shared_server(nginx: str) -> Iterator[ServerBehind]:
    with new_site(nginx) as site:
        site.start()
        with serving_behind(site) as server:
            yield server
