"""Which stored orders the load asks for."""

from contextlib import closing
from pathlib import Path

from orderapi.records import PUBLIC_CLIENT, Claim, NewOrder
from orderapi.store.sqlite.store import SqliteStore
from tests.bench.load import write_sample


def test_a_sample_has_no_orders_of_other_clients(tmp_path: Path) -> None:
    """The load sends no token, so it would get 404, or make another order under the same key."""
    with closing(SqliteStore(tmp_path / "orders.db")) as store:
        store.prepare()
        for client in (PUBLIC_CLIENT, "shop"):
            claim = Claim(client, f"key-of-{client}", "0" * 64)
            store.place(claim, NewOrder(client, "cust1", "item1", 1))
    write_sample(tmp_path / "orders.db", tmp_path / "sample.txt")
    (line,) = (tmp_path / "sample.txt").read_text().splitlines()
    assert line.startswith(f"key-of-{PUBLIC_CLIENT} ")
