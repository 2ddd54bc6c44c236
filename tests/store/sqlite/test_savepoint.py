"""The savepoint of a job needs an open transaction, and no temporary file."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.store.contract import WriteTx
from orderapi.store.jobs import Job
from orderapi.store.sqlite.savepoint import run_in_savepoint
from orderapi.store.sqlite.store import SqliteStore
from tests.support.placing import place, placing
from tests.support.rows import counts


def test_no_job_is_run_outside_a_transaction(store: SqliteStore, database: Path) -> None:
    """A SAVEPOINT outside a transaction begins one, and its RELEASE is then a COMMIT."""
    place(store, "first")
    assert store._writer._connection is not None
    job = Job(placing("alone"), time.monotonic() + 8)
    tx = WriteTx(store._writer._connection.rows_in_transaction)
    with pytest.raises(StoreUnavailable) as refused:
        run_in_savepoint(job, store._writer._connection, tx)
    assert refused.value.reason == "SQLite has ended the transaction after an error"
    assert not store._writer._connection.in_transaction
    assert counts(database) == [1, 1, 1, 1]


def test_savepoints_need_no_temporary_file(store: SqliteStore) -> None:
    """A temporary file may be on another disk, which may be full."""

    def place_many(tx: WriteTx, prefix: str) -> set[str]:
        for n in range(300):
            placing(f"{n}-{prefix}", customer_id=f"{n:0128}")(tx)
        return open_files()

    before = open_files()
    # The second write changes more existing pages than the cache can hold.
    store.write(lambda tx: place_many(tx, "first"))
    opened = store.write(lambda tx: place_many(tx, "second")) - before
    assert any(name.endswith("orders.db-wal") for name in opened)
    assert not [name for name in opened if "etilqs" in name]


def open_files() -> set[str]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()))
    return found
