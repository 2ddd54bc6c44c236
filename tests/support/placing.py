"""Places orders as the view does, without HTTP, and holds or spoils the lock of the database."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orderapi import idempotency
from orderapi.orders import EVENT_TYPE, ORDER_STATUS, place_order
from orderapi.records import PUBLIC_CLIENT, Claim, NewOrder, Reply
from orderapi.store.contract import Store, WriteTx
from orderapi.store.sqlite.files import DatabaseFiles
from orderapi.store.sqlite.placements import LOOK_UPS

Fn = Callable[[WriteTx], Any]


def place(
    store: Store,
    key: str,
    quantity: int = 1,
    customer_id: str = "cust1",
    deadline: float | None = None,
) -> Reply:
    claim, new_order = request_for(key, quantity, customer_id)
    return store.place(claim, new_order, deadline=deadline)


def first_of_many(store: Store) -> Reply:
    """Place so many orders that the process does not look up the key of the next one."""
    first = place(store, "first")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: place(store, f"key-{number}"), range(LOOK_UPS)))
    return first


def placing(key: str, quantity: int = 1, customer_id: str = "cust1") -> Fn:
    claim, new_order = request_for(key, quantity, customer_id)
    return lambda tx: place_order(tx, claim, new_order)


def place_for(store: Store, client_id: str) -> None:
    """Make an order of another client than the public one."""

    def put(tx: WriteTx) -> None:
        made = tx.orders.insert_order(NewOrder(client_id, "cust1", "item1", 1), ORDER_STATUS)
        tx.events.append_event(EVENT_TYPE, made, '{"of":"another client"}')

    store.write(put)


def request_for(key: str, quantity: int = 1, customer_id: str = "cust1") -> tuple[Claim, NewOrder]:
    payload = {"customer_id": customer_id, "item_id": "item1", "quantity": quantity}
    fingerprint = idempotency.fingerprint("POST", "/orders", payload)
    return (
        Claim(PUBLIC_CLIENT, key, fingerprint),
        NewOrder(PUBLIC_CLIENT, customer_id, "item1", quantity),
    )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock between processes. Writes that are queued in the meantime become one batch."""
    holder = DatabaseFiles(path).lock
    holder.take()
    try:
        yield
    finally:
        holder.close()


def spoil_lock_file(path: Path) -> Path:
    """Replace the lock file by a link to a directory. Gives the link; unlink it to end this.

    The link replaces the file in one step. If the file were deleted first, a checkpoint that is
    still running could create it again.
    """
    lock = path.with_name(path.name + "-lock")
    spoilt = path.with_name("spoilt")
    spoilt.symlink_to(path.parent)
    return spoilt.replace(lock)
