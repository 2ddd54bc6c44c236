"""Both ends of a copy: a database of SQLite and one of PostgreSQL, and the data of the first."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.copies import fill
from tests.support.engines import PgBouncerEngine, PostgresEngine, SqliteEngine


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of SQLite that has rows of every kind that is copied. No test changes it."""
    engine = SqliteEngine(tmp_path_factory.mktemp("filled"))
    fill(engine)
    return engine.path


@pytest.fixture
def sqlite(tmp_path: Path, filled: Path) -> SqliteEngine:
    """A database of SQLite with data."""
    engine = SqliteEngine(tmp_path)
    shutil.copy(filled, engine.path)
    # The lock file marks a store in use, and not a backup.
    engine.path.with_name("orders.db-lock").touch()
    return engine


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresEngine]:
    """An empty database of PostgreSQL."""
    engine = PostgresEngine(tmp_path)
    yield engine
    engine.remove()


@pytest.fixture
def pgbouncer(tmp_path: Path) -> Iterator[PgBouncerEngine]:
    """An empty database of PostgreSQL, which is reached through PgBouncer."""
    engine = PgBouncerEngine(tmp_path)
    yield engine
    engine.remove()


@pytest.fixture
def back(tmp_path: Path) -> SqliteEngine:
    """A place for another database of SQLite, which does not exist yet."""
    directory = tmp_path / "back"
    directory.mkdir()
    return SqliteEngine(directory)
