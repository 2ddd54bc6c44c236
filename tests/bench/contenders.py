"""Who takes part: how each is started, and what it needs."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.running import REPOSITORY

BENCH = REPOSITORY / "tests" / "bench"
# The same tables, indexes and triggers for all.
SCHEMA = REPOSITORY / "orderapi/store/sqlite/migrations/0001_orders.sql"


@dataclass(frozen=True)
class Start:
    """A command to run in the repository's root, and what it wants in its environment."""

    command: list[str]
    environ: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One way to serve orders. `letter` names it on the command line and in ratios."""

    letter: str
    name: str
    start: Callable[[Path, int], Start]
    makes_its_database: bool = False


def all_contenders() -> list[Contender]:
    """Give everybody who can take part here."""
    return [
        Contender("a", "FastAPI, the seed's way", _seed),
        Contender("b", "FastAPI, tuned", _tuned),
        Contender("c", "Fastify + better-sqlite3", _fastify),
        Contender("d", "orderapi, gthread", _orderapi("gthread"), makes_its_database=True),
        Contender("e", "orderapi", _orderapi("gevent"), makes_its_database=True),
    ]


def make_database(contender: Contender, path: Path) -> None:
    """Make an empty database; whoever wants WAL enters it when it starts."""
    if contender.makes_its_database:
        return
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA.read_text())


def install_fastify(place: Path) -> str | None:
    """Install the pinned packages beside a copy of the server, once; say what is in the way."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    place.mkdir(parents=True, exist_ok=True)
    lock = BENCH / "fastify" / "package-lock.json"
    installed = place / "installed-lock.json"
    shutil.copy(BENCH / "fastify" / "server.js", place)
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return None
    for name in ("package.json", "package-lock.json"):
        shutil.copy(BENCH / "fastify" / name, place)
    install = ["npm", "ci", "--no-audit", "--no-fund"]
    ended = subprocess.run(install, cwd=place, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        return f"npm ci failed: {ended.stderr.strip()[-300:]}"
    opens = ["node", "-e", "new (require('better-sqlite3'))(':memory:')"]
    if subprocess.run(opens, cwd=place, capture_output=True, check=False).returncode != 0:
        return "better-sqlite3 does not run on this node"
    shutil.copy(lock, installed)
    return None


def work_directory() -> Path:
    """Give the directory of databases and installed packages, which git ignores.

    It lies in the checkout and not in /tmp: that may be memory, where an fsync costs nothing.
    """
    directory = Path(os.environ.get("BENCH_DIRECTORY", REPOSITORY / ".bench"))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n")
    return directory


def _bin(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _seed(database: Path, port: int) -> Start:
    # As `uvicorn app.main:app` runs with what the seed installs: no uvloop, no httptools.
    return _uvicorn("seed", database, port, "--loop", "asyncio", "--http", "h11")


def _tuned(database: Path, port: int) -> Start:
    speed = ("--workers", "4", "--loop", "uvloop", "--http", "httptools")
    return _uvicorn("tuned", database, port, *speed)


def _uvicorn(module: str, database: Path, port: int, *options: str) -> Start:
    app = f"tests.bench.fastapi_stack.{module}:app"
    # Its own line per request is off: ours has what this service logs.
    command = [_bin("uvicorn"), app, "--port", str(port), "--no-access-log", *options]
    return Start(command, {"BENCH_DATABASE": str(database)})


def _fastify(database: Path, port: int) -> Start:
    command = ["node", str(work_directory() / "fastify" / "server.js")]
    environ = {"BENCH_DATABASE": str(database), "BENCH_PORT": str(port), "NODE_ENV": "production"}
    return Start(command, environ)


def _orderapi(worker_class: str) -> Callable[[Path, int], Start]:
    def start(database: Path, port: int) -> Start:
        command = [_bin("gunicorn"), "-c", "deploy/gunicorn.conf.py", "wsgi:app"]
        environ = {
            "ORDERAPI_DATABASE_URL": f"sqlite:///{database}",
            "ORDERAPI_BIND": f"127.0.0.1:{port}",
            "ORDERAPI_WORKER_CLASS": worker_class,
            "ORDERAPI_FAULT_INJECTION": "off",  # as the deployed service
        }
        return Start(command, environ)

    return start
