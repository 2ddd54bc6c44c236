"""A state machine compares the store with a model, in random sequences of operations."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from orderapi.errors import KeyReused
from orderapi.orders import ORDER_STATUS, find_reply, place_order
from orderapi.records import PUBLIC_CLIENT, Order, OrderPage, Reply
from orderapi.store.contract import Store, WriteTx
from orderapi.store.open import open_store
from tests.support.engines import ENGINES
from tests.support.placing import place, request_for

KEYS = st.sampled_from(["a", "b", "c", "d", "e", "f"])
QUANTITIES = st.integers(min_value=1, max_value=3)
CUSTOMERS = st.sampled_from(["cust1", "cust2", "'; DROP TABLE orders; --"])


class StoreMachine(RuleBasedStateMachine):
    """The model is a dict of orders by key. The store must give the same results."""

    engine_name: str

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.engine = ENGINES[self.engine_name](Path(self.directory.name))
        self.store = self.open_store()
        self.placed: dict[str, tuple[int, str, Reply]] = {}

    def open_store(self) -> Store:
        store = open_store(self.engine.url)
        store.prepare()
        return store

    def teardown(self) -> None:
        self.store.close()
        self.engine.remove()
        self.directory.cleanup()

    @rule(key=KEYS, quantity=QUANTITIES, customer_id=CUSTOMERS)
    def place(self, key: str, quantity: int, customer_id: str) -> None:
        known = self.placed.get(key)
        if known is None:
            reply = place(self.store, key, quantity, customer_id)
            assert not reply.replayed
            self.placed[key] = (quantity, customer_id, reply)
        elif known[:2] == (quantity, customer_id):
            reply = place(self.store, key, quantity, customer_id)
            assert reply.replayed
            assert (reply.status, reply.body) == (known[2].status, known[2].body)
        else:
            with pytest.raises(KeyReused):
                place(self.store, key, quantity, customer_id)

    @rule(key=KEYS, quantity=QUANTITIES, customer_id=CUSTOMERS)
    def look_up_before_placing(self, key: str, quantity: int, customer_id: str) -> None:
        claim, _ = request_for(key, quantity, customer_id)
        known = self.placed.get(key)
        if known is not None and known[:2] != (quantity, customer_id):
            with pytest.raises(KeyReused):
                self.store.read(lambda tx: find_reply(tx, claim))
        else:
            found = self.store.read(lambda tx: find_reply(tx, claim))
            assert (found.body if found else None) == (known[2].body if known else None)

    @rule(key=KEYS, quantity=QUANTITIES, after_it=st.booleans())
    def fail(self, key: str, quantity: int, after_it: bool) -> None:
        claim, new_order = request_for(key, quantity)

        def place_and_fail(tx: WriteTx) -> None:
            tx.probe.touch()
            if after_it and key not in self.placed:
                place_order(tx, claim, new_order)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.store.write(place_and_fail)

    @rule(key=KEYS)
    def fail_in_the_driver(self, key: str) -> None:
        claim, new_order = request_for(key)

        def place_twice(tx: WriteTx) -> None:
            tx.events.append_event(
                "order.created", order := tx.orders.insert_order(new_order, ORDER_STATUS), "{}"
            )
            tx.events.append_event("order.created", order, "{}")
            tx.keys.save_claim(claim, Reply(201, "{}", order.order_id))

        with pytest.raises(self.engine.constraint_error):
            self.store.write(place_twice)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open_store()

    @rule(limit=st.integers(min_value=1, max_value=3), customer_id=st.none() | CUSTOMERS)
    def list_all_pages(self, limit: int, customer_id: str | None) -> None:
        listed: list[str] = []
        before: str | None = None
        while True:
            orders = self.list_page(OrderPage(PUBLIC_CLIENT, customer_id, None, before, limit))
            if not orders:
                break
            listed += [order.order_id for order in orders]
            before = listed[-1]
        wanted = [
            reply.order_id
            for _, customer, reply in self.placed.values()
            if customer_id in (None, customer)
        ]
        assert listed == wanted[::-1]

    def list_page(self, page: OrderPage) -> list[Order]:
        return self.store.read(lambda tx: tx.orders.list_orders(page))

    @rule(key=KEYS)
    def find_by_key(self, key: str) -> None:
        page = OrderPage(PUBLIC_CLIENT, None, key, None, 10)
        found = self.list_page(page)
        known = [self.placed[key][2].order_id] if key in self.placed else []
        assert [order.order_id for order in found] == known

    @invariant()
    def every_order_has_one_of_each(self) -> None:
        rows = self.engine.query(
            "SELECT idempotency_key, order_id, quantity, customer_id, sequence FROM orders"
            " JOIN idempotency_keys USING (order_id) JOIN ledger USING (order_id,"
            " customer_id, item_id, quantity) JOIN events USING (order_id) ORDER BY order_id",
        )
        assert rows == [
            (key, reply.order_id, quantity, customer_id, sequence)
            for sequence, (key, (quantity, customer_id, reply)) in enumerate(
                self.placed.items(), start=1
            )
        ]
        for table in ("orders", "ledger", "idempotency_keys", "events"):
            assert self.engine.query(f"SELECT COUNT(*) FROM {table}") == [(len(self.placed),)]


def test_the_store_does_what_its_model_does(engine_name: str) -> None:
    machine = type("Machine", (StoreMachine,), {"engine_name": engine_name})
    examples = 40 if engine_name == "sqlite" else 10
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=25)
    )
