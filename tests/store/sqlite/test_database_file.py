"""A database file that is moved away, moved back, or replaced while the service runs."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.orders import place_order
from orderapi.records import PUBLIC_CLIENT, OrderPage
from orderapi.store.contract import WriteTx
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place, request_for, spoil_lock_file
from tests.support.rows import counts, query

EVERYTHING = OrderPage(PUBLIC_CLIENT, None, None, None, 100)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_that_root_makes_beside_a_database_belong_to_the_owner_of_the_database(
    tmp_path: Path,
) -> None:
    store = SqliteStore(tmp_path / "orders.db")
    store.prepare()
    for file in tmp_path.iterdir():
        os.chown(file, 12345, 12345)
    place(store, "key-1")
    assert store.lease("relay")
    owners = {file.name: (file.stat().st_uid, file.stat().st_gid) for file in tmp_path.iterdir()}
    store.close()
    assert {"orders.db-lock", "orders.db-relay-lock", "orders.db-wal"} <= set(owners)
    assert set(owners.values()) == {(12345, 12345)}


def test_a_database_that_was_moved_away_is_not_created_again_and_works_when_moved_back(
    store: SqliteStore, database: Path
) -> None:
    path = database
    place(store, "before")
    away = path.rename(path.with_name("away.db"))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            place(store, "meanwhile")
        with pytest.raises(StoreUnavailable):
            store.read(lambda tx: tx.orders.list_orders(EVERYTHING))
    assert not path.exists()

    away.rename(path)
    assert place(store, "before").replayed
    assert not place(store, "meanwhile").replayed
    assert counts(path) == [2, 2, 2, 2]


def test_a_store_whose_database_is_missing_from_the_start_makes_none(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orders.db")
    with pytest.raises(StoreUnavailable):
        place(store, "early")
    with pytest.raises(StoreUnavailable):
        store.read(lambda tx: tx.orders.list_orders(EVERYTHING))
    assert not (tmp_path / "orders.db").exists()
    store.close()


@pytest.mark.parametrize("replacement", ["empty", "ours", "foreign"])
def test_another_file_in_the_databases_place_is_not_used(
    store: SqliteStore, database: Path, tmp_path: Path, replacement: str
) -> None:
    """The WAL of the old file is still there. SQLite would use it for the new file."""
    path = database
    place(store, "before")
    away = path.rename(path.with_name("away.db"))
    if replacement == "ours":
        SqliteStore(tmp_path / "other.db").prepare()
        (tmp_path / "other.db").rename(path)
    elif replacement == "foreign":
        with closing(sqlite3.connect(tmp_path / "other.db")) as db:
            db.execute("CREATE TABLE cookies (name)")
        (tmp_path / "other.db").rename(path)
    else:
        path.touch()
    replaced = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            place(store, "meanwhile")
        with pytest.raises(StoreUnavailable):
            store.read(lambda tx: tx.orders.list_orders(EVERYTHING))
    assert path.read_bytes() == replaced

    away.rename(path)
    assert place(store, "before").replayed
    assert not place(store, "meanwhile").replayed
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_write_into_a_file_that_is_moved_away_meanwhile_is_not_acknowledged(
    store: SqliteStore, database: Path
) -> None:
    path = database
    place(store, "before")
    claim, new_order = request_for("leaving")

    def move_away_in_the_middle(tx: WriteTx) -> None:
        place_order(tx, claim, new_order)
        path.rename(path.with_name("away.db"))

    with pytest.raises(StoreUnavailable):
        store.write(move_away_in_the_middle)
    path.with_name("away.db").rename(path)
    place(store, "leaving")
    assert counts(path) == [2, 2, 2, 2]


def test_writes_are_refused_while_the_lock_file_cannot_be_opened(
    store: SqliteStore,
    database: Path,
) -> None:
    place(store, "before")
    lock = spoil_lock_file(database)
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as refused:
            place(store, "meanwhile")
        assert os.strerror(errno.EISDIR) in refused.value.reason
    lock.unlink()
    place(store, "meanwhile")
    assert counts(database) == [2, 2, 2, 2]
