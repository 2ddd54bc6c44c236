from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orderapi.ops import audit as audit_module
from orderapi.ops.audit import audit
from orderapi.settings import SqliteUrl
from orderapi.store.open import open_maintenance
from orderapi.store.sqlite.store import SqliteStore
from tests.support.audited import ORDERS, place, wal_can_be_reset
from tests.support.running import Server

WRITERS = 4
ORDERS_EACH = 200


@pytest.mark.usefixtures("ranges")
def test_an_audit_under_load_finds_nothing(server: Server) -> None:
    def write(writer: int) -> None:
        for number in range(ORDERS_EACH):
            assert server.order(f"load-{writer}-{number}").status == 201

    store = open_maintenance(server.engine.url)
    audits = 0
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, writer) for writer in range(WRITERS)]
        while not all(future.done() for future in writing):
            assert list(audit(store, lambda _done, _total: None)) == []
            audits += 1
        for future in writing:
            future.result()
    assert list(audit(store, lambda _done, _total: None)) == []
    store.close()
    assert audits > 1
    assert server.counts()["orders"] == WRITERS * ORDERS_EACH


def test_no_snapshot_is_held_from_one_range_to_the_next(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "RANGE_ORDERS", 50)
    others = SqliteStore(database)
    moved = []

    def order_and_reset_the_wal(done: int, _total: int) -> None:
        if done <= ORDERS:
            place(others, 1000 + done)
        moved.append(wal_can_be_reset(database))

    store = open_maintenance(SqliteUrl(database))
    assert list(audit(store, order_and_reset_the_wal)) == []
    store.close()
    others.close()
    assert len(moved) > ORDERS / 50
    assert all(moved)
