"""The engines that the contract of the store is tested on.

Each gives stores on one set of data, and shows the rows as another program sees them.
"""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Protocol

from orderapi.settings import DatabaseUrl, SqliteUrl
from tests.support import placing, rows


class Engine(Protocol):
    """One engine, with data of its own in a temporary directory."""

    # What the engine raises for a row that breaks a constraint.
    constraint_error: type[Exception]

    @property
    def url(self) -> DatabaseUrl:
        """The URL under which `orderapi.store.open` gives the stores on the data."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask on a connection that is not the store's."""

    def counts(self) -> list[int]:
        """Count the rows of each table, on a connection that is not the store's."""

    def execute(self, sql: str) -> None:
        """Change rows as another program with write access does."""

    def held(self) -> AbstractContextManager[None]:
        """Make every write wait, as a process does that writes for a long time."""


class SqliteEngine:
    """The engine behind `sqlite:///`."""

    constraint_error: type[Exception] = sqlite3.IntegrityError

    def __init__(self, directory: Path) -> None:
        self._path = directory / "orders.db"

    @property
    def url(self) -> DatabaseUrl:
        return SqliteUrl(self._path)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return rows.query(self._path, sql)

    def counts(self) -> list[int]:
        return rows.counts(self._path)

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(sql)

    def held(self) -> AbstractContextManager[None]:
        return placing.held(self._path)


ENGINES: dict[str, Callable[[Path], Engine]] = {"sqlite": SqliteEngine}
