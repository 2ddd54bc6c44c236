"""Runs one scenario in a process of its own, in which gevent patches before all other imports."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orderapi.store.native import native_sleep
from orderapi.store.sqlite.connection import Connection
from orderapi.store.sqlite.store import SqliteStore
from tests.support.running import REPOSITORY

_RUN = """\
from gevent import monkey
monkey.patch_all()
import importlib, pathlib, sys
module, scenario, path, *arguments = sys.argv[1:]
getattr(importlib.import_module(module), scenario)(pathlib.Path(path), *arguments)
"""


def run_in_greenlets(scenario: Callable[..., Any], path: Path, *arguments: str) -> str:
    """Run `scenario(path, *arguments)` as in a gevent worker. Gives its output.

    Asserts that stderr is empty, because gevent prints the failures of other greenlets there.
    """
    command = [sys.executable, "-c", _RUN, scenario.__module__, scenario.__name__, str(path)]
    ended = subprocess.run(
        [*command, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == "", ended.stderr
    assert ended.returncode == 0
    return ended.stdout


def prepared(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    store.prepare()
    return store


@contextmanager
def disk_slowed(_: Path) -> Iterator[None]:
    """Let a COMMIT that writes take as long as fsync takes on a disk that is overloaded."""
    original = Connection.execute

    def execute(self: Connection, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.total_changes:
            native_sleep(1.5)
        return original(self, sql, *parameters)

    Connection.execute = execute  # type: ignore[method-assign, assignment]
    yield
    Connection.execute = original  # type: ignore[method-assign]
