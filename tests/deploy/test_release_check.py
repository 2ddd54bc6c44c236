"""`python -m deploy.check`: what an installation refuses before it changes anything."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backup_files import contents, with_orders
from tests.support.running import REPOSITORY, environ_with


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return with_orders(tmp_path / "orders.db", "key-1")


def check(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.check", *arguments]
    environ = environ_with(**settings)
    return subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=60
    )


def test_a_release_that_can_start_is_accepted_and_nothing_changes(database: Path) -> None:
    before = contents(database.parent)
    done = check(DATABASE_URL=f"sqlite:///{database}", FAULT_INJECTION="off")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert contents(database.parent) == before


def test_a_release_is_refused_on_a_newer_database(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO schema_migrations VALUES (99, 99)")
    done = check(DATABASE_URL=f"sqlite:///{database}")
    assert done.returncode == 1
    assert "schema 99" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_release_is_refused_without_its_database(tmp_path: Path) -> None:
    done = check(DATABASE_URL=f"sqlite:///{tmp_path / 'orders.db'}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_setting_is_refused_by_its_name(database: Path) -> None:
    done = check(DATABASE_URL=f"sqlite:///{database}", WORKERS="many")
    assert done.returncode == 1
    assert done.stderr.startswith("ORDERAPI_WORKERS: ")


def test_settings_are_checked_without_a_database(tmp_path: Path) -> None:
    file = tmp_path / "orderapi.env"
    file.write_text("ORDERAPI_LOG_LEVEL=debug\n")
    done = check("--settings", file, LOG_LEVEL="debug")
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_of_an_older_release_are_refused_with_every_line_that_must_go(
    tmp_path: Path,
) -> None:
    file = tmp_path / "orderapi.env"
    file.write_text(
        "# ORDERAPI_THREADS=1 is only a comment.\n"
        "ORDERAPI_WORKER_CLASS=gthread\n"
        "ORDERAPI_FAULT_INJECTION=off\n"
        "ORDERAPI_THREADS=4\n"
        "\n"
        "  ORDERAPI_THREADS = 8\n"
    )
    done = check("--settings", file, WORKER_CLASS="gthread", THREADS="8", FAULT_INJECTION="off")
    assert done.returncode == 1
    threads, worker_class = done.stderr.splitlines()
    assert threads.startswith(f"{file}, line 4 and line 6: ORDERAPI_THREADS: this setting is gone")
    assert worker_class.startswith(f"{file}, line 2: ORDERAPI_WORKER_CLASS: this setting is gone")


def test_a_refused_setting_that_is_in_no_line_is_reported_without_one(tmp_path: Path) -> None:
    done = check("--settings", tmp_path / "no such file", THREADS="8")
    assert done.stderr.startswith("ORDERAPI_THREADS: this setting is gone")


def test_wrong_use_is_answered_with_the_right_use() -> None:
    done = check("--setings")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "usage: python -m deploy.check [--settings FILE]\n"
