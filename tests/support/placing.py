"""Orders placed as the view places them, without HTTP; and the files, seen from outside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orderapi import idempotency
from orderapi.orders import EVENT_TYPE, ORDER_STATUS, place_order
from orderapi.records import PUBLIC_CLIENT, Claim, NewOrder, Reply
from orderapi.store.contract import Store, WriteTx
from orderapi.store.sqlite.files import DatabaseFiles

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


def placing(key: str, quantity: int = 1, customer_id: str = "cust1") -> Fn:
    claim, new_order = request_for(key, quantity, customer_id)
    return lambda tx: place_order(tx, claim, new_order)


def place_for(store: Store, client_id: str) -> None:
    """Let a client other than the public one have an order."""

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
    """Hold the lock between processes: what is written meanwhile waits, as one batch."""
    holder = DatabaseFiles(path).lock
    holder.take()
    try:
        yield
    finally:
        holder.close()


def spoil_lock_file(path: Path) -> Path:
    """Put a directory in the lock file's place, in one step; unlink what this gives to end it.

    A checkpoint after the last order may be running, and would make a lock file that is gone anew.
    """
    lock = path.with_name(path.name + "-lock")
    spoilt = path.with_name("spoilt")
    spoilt.symlink_to(path.parent)
    return spoilt.replace(lock)
