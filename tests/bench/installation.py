"""Installs the contenders that Python's packages of this tree do not contain, once each."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.contenders import (
    BENCH,
    Contender,
    all_contenders,
    fastify_directory,
    release_directory,
)
from tests.support.running import REPOSITORY

RELEASE_COMMIT = "47870d8ecad46632e5a4c32b29ed80637b3a765f"


class NotInstalled(Exception):
    """A contender cannot be installed. The message says why."""


def install(wanted: list[str]) -> tuple[list[Contender], list[str]]:
    """Install the contenders with the ids `wanted`.

    Returns those that can be measured, and for each other one a sentence that says why it is left
    out. An installation from an earlier run is used again.
    """
    present, absent = [], []
    for contender in all_contenders():
        if contender.id not in wanted:
            continue
        try:
            _INSTALLERS.get(contender.id, _nothing_to_do)()
        except NotInstalled as error:
            absent.append(f"{contender.name} is left out: {error}.")
        else:
            present.append(contender)
    return present, absent


def _nothing_to_do() -> None:
    """Do nothing, because `make bench` has installed this contender with its extra."""


def _install_fastify() -> None:
    """Install the locked packages of npm beside a copy of the server."""
    _require("node", "npm")
    place = fastify_directory()
    place.mkdir(parents=True, exist_ok=True)
    lock = BENCH / "fastify" / "package-lock.json"
    shutil.copy(BENCH / "fastify" / "server.js", place)
    installed = place / "installed"
    state = f"{lock.read_text()}\nnode {_output('node', '--version')}"
    if installed.exists() and installed.read_text() == state:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(BENCH / "fastify" / name, place)
    _run(["npm", "ci", "--no-audit", "--no-fund"], place, _with_headers_of_node())
    _run(["node", "-e", "new (require('better-sqlite3'))(':memory:')"], place)
    installed.write_text(state)


def _with_headers_of_node() -> dict[str, str]:
    """Return an environment in which better-sqlite3 compiles without a download.

    npm compiles better-sqlite3 if it cannot download a compiled one. By default it downloads
    node's headers for that, although most distributions have installed them beside node.
    """
    prefix = Path(_output("node", "-p", "process.execPath")).parent.parent
    headers = {}
    if (prefix / "include" / "node" / "node.h").exists():
        headers["npm_config_nodedir"] = str(prefix)
    return os.environ | headers


def _install_release() -> None:
    """Check release 0.1.0 out into a directory, and install it there as its own Makefile says."""
    _require("git", "make", "tar")
    place = release_directory()
    installed = place / "installed"
    state = f"{RELEASE_COMMIT}\nPython {platform.python_version()}"
    if installed.exists() and installed.read_text() == state:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    archive = place / "tree.tar"
    _run(["git", "archive", f"--output={archive}", RELEASE_COMMIT], REPOSITORY)
    _run(["tar", "-xf", str(archive)], place)
    archive.unlink()
    # Under `make bench`, MAKEFLAGS would pass the options of that call on to this one.
    environ = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    _run(["make", "install", f"PYTHON={sys.executable}"], place, environ)
    installed.write_text(state)


_INSTALLERS: dict[str, Callable[[], None]] = {
    "fastify": _install_fastify,
    "release": _install_release,
}


def _require(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise NotInstalled(f"this machine has no {' and no '.join(missing)}")


def _run(command: list[str], directory: Path, environ: dict[str, str] | None = None) -> None:
    print(f"running {' '.join(command[:2])} in {directory}", file=sys.stderr)
    ended = subprocess.run(
        command, cwd=directory, env=environ, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines() or ["no message"]
        raise NotInstalled(f"`{' '.join(command[:2])}` failed: {lines[-1][:300]}")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
