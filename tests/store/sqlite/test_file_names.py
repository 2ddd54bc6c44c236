"""A database has one name, in one directory: its WAL and its lock belong to that name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.orders import place_order
from orderapi.records import Reply
from orderapi.store.sqlite import files, placements
from orderapi.store.sqlite.store import SqliteStore
from tests.support.disks import mounted
from tests.support.placing import first_of_many, place
from tests.support.promises import promise
from tests.support.rows import counts


def refusal_of_a_start(path: Path) -> str:
    with pytest.raises(StoreRefused) as refused:
        SqliteStore(path).prepare()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def refusal_of_a_write(store: SqliteStore, key: str) -> str:
    with pytest.raises(StoreUnavailable) as refused:
        place(store, key)
    return refused.value.reason


def is_read(store: SqliteStore, key: str) -> bool:
    return store.read(lambda tx: tx.keys.find_claim("public", key)) is not None


@promise("one key, one effect")
def test_no_service_starts_on_a_database_with_two_names(tmp_path: Path) -> None:
    first, second = tmp_path / "orders.db", tmp_path / "elsewhere" / "same.db"
    SqliteStore(first).prepare()
    second.parent.mkdir()
    os.link(first, second)
    before = first.read_bytes()
    for path in (first, second):
        assert "2 names (hard links)" in refusal_of_a_start(path)
        store = SqliteStore(path)
        assert "2 names (hard links)" in refusal_of_a_write(store, "key")
        store.close()
    assert first.read_bytes() == before

    second.unlink()
    SqliteStore(first).prepare()


def test_a_second_name_that_appears_while_serving_stops_writes_until_it_is_gone(
    store: SqliteStore, database: Path
) -> None:
    place(store, "before")
    assert is_read(store, "before")
    other = database.with_name("other.db")
    os.link(database, other)
    assert "2 names (hard links)" in refusal_of_a_write(store, "meanwhile")
    assert is_read(store, "before")

    other.unlink()
    assert not place(store, "meanwhile").replayed
    assert counts(database) == [2, 2, 2, 2]


def test_a_start_deletes_the_second_name_that_a_killed_restore_has_left(
    tmp_path: Path,
) -> None:
    path = tmp_path / "orders.db"
    SqliteStore(path).prepare()
    kept = tmp_path / "orders.db-replaced-20261129T010203.456789Z"
    os.link(path, kept)
    assert "2 names" in refusal_of_a_start(kept)
    SqliteStore(path).prepare()
    assert not kept.exists()
    assert counts(path) == [0, 0, 0, 0]


def test_a_database_that_a_restore_has_replaced_is_left_alone_by_a_start(tmp_path: Path) -> None:
    """The WAL has only this name, and the old database is not complete without it."""
    path = tmp_path / "orders.db"
    kept = tmp_path / "orders.db-replaced-20261129T010203.456789Z"
    SqliteStore(path).prepare()
    os.link(path, kept)
    kept.with_name(kept.name + "-wal").write_bytes(b"the only name of this WAL")
    SqliteStore(path).prepare()
    assert kept.exists()
    assert kept.with_name(kept.name + "-wal").exists()


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """Mount the file `source` on the file `target`, as a container's volume of one file does."""
    target.touch()
    with mounted("--bind", source, target):
        yield


def test_no_service_starts_on_a_file_that_is_mounted_alone(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside.db", tmp_path / "inside" / "orders.db"
    SqliteStore(outside).prepare()
    inside.parent.mkdir()
    with bound(outside, inside):
        line = refusal_of_a_start(inside)
        assert line.startswith(f"{inside} is a mount point; mount the directory {inside.parent}")
        store = SqliteStore(inside)
        with pytest.raises(StoreUnavailable, match=r"cannot be used"):
            store.read(lambda tx: tx.events.last_sequence())
        assert "is a mount point" in refusal_of_a_write(store, "key")
        store.close()
    assert not inside.with_name("orders.db-wal").exists()


@pytest.mark.parametrize("name", ["orders.db", "orders.db-wal"])
def test_a_mount_that_appears_while_serving_stops_writes_until_it_is_gone(
    store: SqliteStore, database: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(files, "_MOUNT_CHECK_PAUSE_S", 0.0)
    place(store, "before")
    assert is_read(store, "before")
    file = database.with_name(name)
    # The same file is mounted on itself, so that only the mount is new.
    with bound(file, file):
        assert f"{file} is a mount point" in refusal_of_a_write(store, "meanwhile")
        assert is_read(store, "before")
    assert not place(store, "meanwhile").replayed


def test_an_overlay_of_two_file_systems_is_a_place_for_a_database(tmp_path: Path) -> None:
    """On an overlay, a file has another device number than its directory, as in some containers."""
    lower, disk, root = (tmp_path / name for name in ("lower", "disk", "root"))
    for directory in (lower, disk, root):
        directory.mkdir()
    with mounted("-t", "tmpfs", "none", disk):
        upper, work = disk / "upper", disk / "work"
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        with mounted("-t", "overlay", "-o", layers, "none", root):
            database = root / "orders.db"
            SqliteStore(database).prepare()
            assert database.stat().st_dev != root.stat().st_dev
            SqliteStore(database).prepare()
            store = SqliteStore(database)
            place(store, "key")
            store.close()


def test_names_with_unusual_characters_are_found_among_the_mounts(tmp_path: Path) -> None:
    path = tmp_path / "my \\ orders\n.db"
    SqliteStore(path).prepare()
    with bound(path, path), pytest.raises(StoreRefused, match="is a mount point"):
        SqliteStore(path).prepare()
    SqliteStore(path).prepare()


@promise("a 201 is durable")
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_no_write_is_acknowledged_once_its_wal_is_deleted(
    store: SqliteStore, database: Path, suffix: str
) -> None:
    place(store, "before")
    assert is_read(store, "before")
    database.with_name(database.name + suffix).unlink()
    for _ in range(2):
        assert "was deleted or replaced" in refusal_of_a_write(store, "meanwhile")
        assert is_read(store, "before")

    # When the last connection closes, SQLite writes everything into the database file.
    store.close()
    again = SqliteStore(database)
    with suppress(StoreRefused):
        again.prepare()
    database.with_name(database.name + "-shm").unlink(missing_ok=True)
    again.prepare()
    assert is_read(again, "before")
    assert not place(again, "meanwhile").replayed
    again.close()


def test_an_order_is_not_acknowledged_if_its_wal_is_deleted_meanwhile(
    store: SqliteStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is committed in a file without a name, where the request could find it."""
    first_of_many(store)

    def place_and_delete(*arguments: Any) -> Reply:
        reply = place_order(*arguments)
        database.with_name("orders.db-wal").unlink()
        return reply

    monkeypatch.setattr(placements, "place_order", place_and_delete)
    with pytest.raises(StoreUnavailable):
        place(store, "during")
    assert is_read(store, "during")


def test_a_process_that_finds_an_index_without_its_wal_does_not_open_the_database(
    store: SqliteStore, database: Path
) -> None:
    """It would make a new WAL, while other processes still write to the deleted one."""
    place(store, "before")
    database.with_name("orders.db-wal").unlink()
    other = SqliteStore(database)
    with pytest.raises(StoreUnavailable) as refused:
        other.read(lambda tx: tx.events.last_sequence())
    assert "the WAL is gone" in refused.value.reason
    assert "the WAL is gone" in refusal_of_a_start(database)
    assert not database.with_name("orders.db-wal").exists()
    other.close()
