"""The services that are compared: how each one is started."""

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.running import REPOSITORY

BENCH = REPOSITORY / "tests" / "bench"
OURS = "orderapi"
_TUNED_WORKERS = 4


@dataclass(frozen=True)
class Start:
    """A command, the directory in which it runs, and the environment variables that it needs."""

    command: list[str]
    environ: dict[str, str] = field(default_factory=dict)
    directory: Path = REPOSITORY


@dataclass(frozen=True)
class Contender:
    """One service that stores orders.

    `id` is its name on the command line and `name` its name in the tables. `start` receives the
    path of the database and the port.
    """

    id: str
    name: str
    start: Callable[[Path, int], Start]
    makes_its_database: bool = False


def all_contenders() -> list[Contender]:
    """Return every contender, also those that are not installed yet."""
    return [
        Contender("fastapi-naive", "FastAPI, one shared connection", _naive_fastapi),
        Contender("fastapi", "FastAPI, tuned", _tuned_fastapi),
        Contender("fastify", "Fastify + better-sqlite3", _fastify),
        Contender("release", "orderapi 0.1.0", _release, makes_its_database=True),
        Contender(OURS, "orderapi", _ours, makes_its_database=True),
    ]


def our_contender() -> Contender:
    """Return the service of this tree."""
    return next(contender for contender in all_contenders() if contender.id == OURS)


def make_database(contender: Contender, path: Path) -> None:
    """Make an empty database. A contender that uses WAL switches it on when it starts.

    Our own service is left to make its own database, with its migrations.
    """
    if contender.makes_its_database:
        return
    with closing(sqlite3.connect(path)) as db:
        db.executescript((BENCH / "schema.sql").read_text())


def work_directory() -> Path:
    """Return the directory of databases and installed packages, which git ignores.

    The directory is in the checkout and not in /tmp, because /tmp may be memory, where an fsync
    costs nothing. `BENCH_DIRECTORY` names another directory.
    """
    directory = Path(os.environ.get("BENCH_DIRECTORY", REPOSITORY / ".bench")).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n")
    return directory


def fastify_directory() -> Path:
    """Return the directory of Fastify's server and its packages."""
    return work_directory() / "fastify"


def release_directory() -> Path:
    """Return the directory in which release 0.1.0 is checked out."""
    return work_directory() / "release-0.1.0"


def _naive_fastapi(database: Path, port: int) -> Start:
    # The seed of this project runs `uvicorn app.main:app` without uvloop and without httptools.
    return _uvicorn("naive", database, port, "--loop", "asyncio", "--http", "h11")


def _tuned_fastapi(database: Path, port: int) -> Start:
    options = ("--workers", str(_TUNED_WORKERS), "--loop", "uvloop", "--http", "httptools")
    return _uvicorn("tuned", database, port, *options)


def _uvicorn(module: str, database: Path, port: int, *options: str) -> Start:
    app = f"tests.bench.fastapi_stack.{module}:app"
    # The contender writes the same log line as our service, so uvicorn's own line is off.
    command = [_bin("uvicorn"), app, "--port", str(port), "--no-access-log", *options]
    return Start(command, {"BENCH_DATABASE": str(database)})


def _fastify(database: Path, port: int) -> Start:
    command = ["node", str(fastify_directory() / "server.js")]
    environ = {"BENCH_DATABASE": str(database), "BENCH_PORT": str(port), "NODE_ENV": "production"}
    return Start(command, environ)


def start_ours(database_url: str, port: int) -> Start:
    """Start the service of this tree on a database of any engine."""
    return _gunicorn(Path(_bin("gunicorn")), database_url, port, REPOSITORY)


def _release(database: Path, port: int) -> Start:
    directory = release_directory()
    program = directory / ".venv" / "bin" / "gunicorn"
    return _gunicorn(program, f"sqlite:///{database}", port, directory)


def _ours(database: Path, port: int) -> Start:
    return start_ours(f"sqlite:///{database}", port)


def _gunicorn(program: Path, database_url: str, port: int, directory: Path) -> Start:
    """Start orderapi as its documentation says, with the settings of a deployed service."""
    command = [str(program), "-c", "deploy/gunicorn.conf.py", "wsgi:app"]
    environ = {
        "ORDERAPI_DATABASE_URL": database_url,
        "ORDERAPI_BIND": f"127.0.0.1:{port}",
        "ORDERAPI_FAULT_INJECTION": "off",
    }
    return Start(command, environ, directory)


def _bin(name: str) -> str:
    return str(Path(sys.executable).parent / name)
