"""Each reason that stops a start is reported in one clear line, and nothing is changed."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreRefused
from orderapi.store.sqlite.start import APPLICATION_ID
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place
from tests.support.rows import counts, query
from tests.support.running import REPOSITORY, Server

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


def refusal(path: Path) -> str:
    """Prepare a store that must be refused, and give the line with the reason."""
    with pytest.raises(StoreRefused) as refused:
        SqliteStore(path).prepare()
    message = str(refused.value)
    assert "\n" not in message
    assert path.name in message or str(path.parent) in message
    return message


@pytest.fixture
def full_path(tmp_path: Path) -> Path:
    """A database with 300 orders, which no process uses."""
    path = tmp_path / "orders.db"
    store = SqliteStore(path)
    store.prepare()
    for number in range(300):
        place(store, f"key-{number}")
    store.close()
    return path


def another_applications(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA application_id = 42; CREATE TABLE cookies (name);")


def another_applications_empty(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 42")


def the_old_demos(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE orders (order_id TEXT PRIMARY KEY, customer_id TEXT, item_id TEXT,"
            " quantity INTEGER, status TEXT);"
            "CREATE TABLE ledger (ledger_id TEXT PRIMARY KEY, order_id TEXT);"
            "INSERT INTO orders VALUES ('1', 'cust1', 'item1', 1, 'created');"
        )


@pytest.mark.parametrize("make", [another_applications, another_applications_empty, the_old_demos])
def test_a_database_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "orders.db"
    make(path)
    before = path.read_bytes()
    assert "not a database of orderapi" in refusal(path)
    assert path.read_bytes() == before


def garbage_header(data: bytearray) -> bytearray:
    data[:64] = b"This is a letter to my aunt, not a database; keep it please!    "
    return data


def page_headers_overwritten(data: bytearray) -> bytearray:
    for page in range(len(data) // 4096 // 2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    return data


def schema_page_overwritten(data: bytearray) -> bytearray:
    data[100:108] = b"\xff" * 8
    return data


def cut_in_half(data: bytearray) -> bytearray:
    return data[: len(data) // 2]


def cut_inside_its_header(data: bytearray) -> bytearray:
    return data[:50]


@pytest.mark.parametrize(
    "damage",
    [
        garbage_header,
        page_headers_overwritten,
        schema_page_overwritten,
        cut_in_half,
        cut_inside_its_header,
    ],
)
def test_a_corrupt_database_is_refused(
    full_path: Path, damage: Callable[[bytearray], bytearray]
) -> None:
    damaged = damage(bytearray(full_path.read_bytes()))
    full_path.write_bytes(damaged)
    refusal(full_path)
    assert full_path.stat().st_size == len(damaged)


def test_a_file_that_is_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.write_text("Dear aunt,\n" * 1000)
    assert "NOTADB" in refusal(path)
    assert path.read_text().startswith("Dear aunt")


def test_a_directory_in_the_databases_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.mkdir()
    refusal(path)


def test_a_missing_directory_is_refused_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "orders.db"
    assert "does not exist" in refusal(path)
    assert not path.parent.exists()


def test_a_missing_database_whose_wal_exists_is_not_created_again(full_path: Path) -> None:
    """SQLite would delete this WAL, which may contain committed orders."""
    store = SqliteStore(full_path)
    place(store, "in the WAL only")
    wal = full_path.with_name("orders.db-wal")
    kept = wal.read_bytes()
    assert kept
    away = full_path.rename(full_path.with_name("away.db"))
    assert "orders.db-wal" in refusal(full_path)
    assert not full_path.exists()
    assert wal.read_bytes() == kept

    away.rename(full_path)
    store.close()
    SqliteStore(full_path).prepare()
    assert counts(full_path) == [301, 301, 301, 301]


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """A first start that was killed leaves an empty file."""
    path = tmp_path / "orders.db"
    path.touch()
    SqliteStore(path).prepare()
    assert query(path, "PRAGMA application_id") == [(APPLICATION_ID,)]


def test_a_path_with_bytes_that_are_not_utf_8_is_used(tmp_path: Path) -> None:
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/data-\xff"))
    directory.mkdir()
    path = directory / os.fsdecode(b"orders-\xfe.db")
    store = SqliteStore(path)
    store.prepare()
    assert not place(store, "key").replayed
    store.close()
    assert path.stat().st_size > 0


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that every user can reach. Those of pytest are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@needs_root
@pytest.mark.parametrize("with_database", [False, True])
def test_a_directory_that_cannot_be_written_is_refused(
    public_directory: Path, with_database: bool
) -> None:
    path = public_directory / "orders.db"
    if with_database:
        SqliteStore(path).prepare()
    line = refusal_as_nobody(path)
    assert "cannot write" in line
    assert "Permission denied" in line


@needs_root
def test_a_database_that_cannot_be_written_is_refused(public_directory: Path) -> None:
    path = public_directory / "orders.db"
    SqliteStore(path).prepare()
    public_directory.chmod(0o777)
    path.with_name("orders.db-lock").chmod(0o666)
    assert f"cannot write {path}" in refusal_as_nobody(path)


@needs_root
def test_a_read_only_file_system_is_refused(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "none", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    try:
        assert "Read-only file system" in refusal(tmp_path / "orders.db")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_the_server_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    the_old_demos(tmp_path / "orders.db")
    server = Server(tmp_path)
    server.start(wait=False)
    assert server.process is not None
    assert server.process.wait(20) == 1
    refusals = [line for line in server.log_lines() if line["level"] == "CRITICAL"]
    (refused,) = refusals
    assert refused["message"].startswith("cannot start: ORDERAPI_DATABASE_URL: ")
    assert "not a database of orderapi" in refused["message"]
    assert "Traceback" not in server.log_path.read_text()


def refusal_as_nobody(path: Path) -> str:
    """Prepare a store as the user `nobody`, and give the line with the reason of the refusal."""
    script = (
        "import os, sys, pathlib\n"
        "from orderapi.errors import StoreRefused\n"
        "from orderapi.store.sqlite.store import SqliteStore\n"
        "store = SqliteStore(pathlib.Path(sys.argv[1]))\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    store.prepare()\n"
        "except StoreRefused as error:\n    sys.exit(str(error))\n"
    )
    refused = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1, refused.stderr
    (line,) = refused.stderr.splitlines()
    return line
