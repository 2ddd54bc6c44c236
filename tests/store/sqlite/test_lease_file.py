"""The lock file of a lease: older releases, holders that have died, and a file that was deleted."""

import fcntl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from orderapi.store.sqlite.lease_file import LeaseFile
from orderapi.store.sqlite.store import SqliteStore


def lock_path(database: Path) -> Path:
    return database.with_name("orders.db-relay-lock")


@contextmanager
def relay_of_release_0_1_0(database: Path) -> Iterator[bool]:
    """Lock the file as release 0.1.0 does, and tell whether its relay would deliver."""
    with lock_path(database).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def test_a_relay_of_an_older_release_delivers_alone(store: SqliteStore, database: Path) -> None:
    with relay_of_release_0_1_0(database) as delivers:
        assert delivers
        assert not store.lease("relay")
    assert store.lease("relay")
    with relay_of_release_0_1_0(database) as delivers:
        assert not delivers
    store.close()
    with relay_of_release_0_1_0(database) as delivers:
        assert delivers


def test_a_relay_of_an_older_release_waits_for_every_newer_one(
    store: SqliteStore, database: Path
) -> None:
    """A suspended holder may continue, and it still has the lock file."""
    with closing(SqliteStore(database)) as waiting:
        assert store.lease("relay")
        assert not waiting.lease("relay")
        store.close()
        with relay_of_release_0_1_0(database) as delivers:
            assert not delivers


def test_after_the_file_was_deleted_no_older_release_delivers_beside_the_holder(
    store: SqliteStore, database: Path
) -> None:
    assert store.lease("relay")
    lock_path(database).unlink()
    with relay_of_release_0_1_0(database) as delivers:
        assert delivers
        # The holder confirms its lease before each delivery.
        assert store.lease("relay") is None


def test_a_holder_that_confirms_its_lease_first_locks_a_new_file(
    store: SqliteStore, database: Path
) -> None:
    assert store.lease("relay")
    lock_path(database).unlink()
    assert store.lease("relay")
    with relay_of_release_0_1_0(database) as delivers:
        assert not delivers
    with closing(SqliteStore(database)) as other:
        assert not other.lease("relay")


def test_a_store_that_was_suspended_while_it_took_a_lease_stops_no_other(
    store: SqliteStore, database: Path
) -> None:
    suspended = LeaseFile(lock_path(database), database)
    assert suspended.mark_alive(1)
    assert suspended.mark_alive(2)
    lease = store.lease("relay")
    assert lease is not None
    assert lease.fence == 3
    suspended.close()


def test_a_holder_lives_until_its_file_is_closed(tmp_path: Path) -> None:
    first, second = (LeaseFile(tmp_path / "lock", tmp_path / "orders.db") for _ in range(2))
    assert first.mark_alive(7)
    assert not second.is_dead(7)
    assert not second.mark_alive(7)
    assert second.is_dead(6)
    first.close()
    assert second.is_dead(7)
    second.close()
