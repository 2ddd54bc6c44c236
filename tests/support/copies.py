"""Stores that are copied with `orderapi copy`, as operators run it."""

import subprocess
from contextlib import closing
from typing import Any

from orderapi import idempotency
from orderapi.ops.audit import audit
from orderapi.ops.copy import CopyResult, copy
from orderapi.orders import place_order
from orderapi.records import Claim, NewOrder, NewToken
from orderapi.settings import DatabaseUrl
from orderapi.store.contract import Store, WriteTx
from orderapi.store.open import (
    open_copy_source,
    open_copy_target,
    open_maintenance,
    open_store,
)
from orderapi.store.statements.copies import CHANGING_TABLES, GROWING_TABLES
from tests.support.backup_files import ORDERAPI
from tests.support.engines import Engine
from tests.support.running import environ_with

# More than one batch, so that a copy can be killed in the middle of a table.
ORDERS = 3_000
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def run_copy(
    source: Engine, target: Engine, *options: str, **popen: Any
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return run_copy_of(source.url_text, target.url_text, *options, **popen)


def run_copy_of(
    source_url: str, target_url: str, *options: str, **popen: Any
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ORDERAPI, "copy", *options, source_url, target_url],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        **({"env": environ_with()} | popen),
    )


def copy_here(source: Engine, target: Engine) -> CopyResult | None:
    """Copy in this process, which takes less time."""
    ends = open_copy_source(source.url), open_copy_target(target.url)
    return copy(*ends, (source.url_text, target.url_text), quiet, quiet)


def begin_copy(source: Engine, target: Engine) -> "subprocess.Popen[bytes]":
    """Start the command, and do not wait for it."""
    return subprocess.Popen(
        [ORDERAPI, "copy", source.url_text, target.url_text],
        env=environ_with(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def fill(engine: Engine, orders: int = ORDERS) -> None:
    """Make a store that has something in every table and in every column."""
    with closing(open_store(engine.url)) as store:
        store.prepare()
        store.write(lambda tx: _place_all(tx, orders))
        _use(store)


def order_of(number: int) -> tuple[Claim, NewOrder]:
    """Give the request for one of the orders of `fill`."""
    payload = {
        "customer_id": f'{number % 7} é"\\☃\U0001f600',
        "item_id": "item1" if number % 5 else "\u2028 x",
        "quantity": number % 9 + 1,
    }
    client_id = f"client-{number % 3}"
    fingerprint = idempotency.fingerprint("POST", "/orders", payload)
    # The keys are not sorted as the orders are.
    claim = Claim(client_id, f"key {number * 7_919 % 10_007}", fingerprint)
    return claim, NewOrder(client_id, **payload)  # type: ignore[arg-type]  # as the view does


def rows_of(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Give all rows that a copy must bring along, by their table."""
    rows = {
        table.name: engine.query(
            f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {table.key}"
        )
        for table in GROWING_TABLES
    }
    for changing in CHANGING_TABLES:
        rows[changing.name] = engine.query(
            f"SELECT {', '.join(changing.values)} FROM {changing.name} ORDER BY 1"
        )
    return rows


def findings(url: DatabaseUrl) -> list[str]:
    with closing(open_maintenance(url)) as maintenance:
        return list(audit(maintenance, lambda _done, _total: None))


def _place_all(tx: WriteTx, orders: int) -> None:
    for number in range(orders):
        claim, new_order = order_of(number)
        place_order(tx, claim, new_order, TRACE if number % 10 == 0 else None)


def _use(store: Store) -> None:
    """Give the store tokens, a relay that is blocked, and a lease that was taken twice."""
    store.write(lambda tx: tx.tokens.insert_token(_token("a")))
    store.write(lambda tx: tx.tokens.insert_token(_token("b")))
    store.write(lambda tx: tx.tokens.revoke(1))
    store.write(lambda tx: tx.relay.move_to(5))
    store.write(lambda tx: tx.relay.note_failure(5, "the receiver answered 500"))
    assert store.lease("relay") is not None


def quiet(*_: object) -> None:
    """Report nothing of what a command has done so far, or has found."""


def _token(name: str) -> NewToken:
    return NewToken(name * 64, name * 8, "client-1", "label é", "read write", None)
