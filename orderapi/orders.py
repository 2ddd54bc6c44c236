"""Makes an order exactly once, and returns the same answer for each retry.

This module contains neither HTTP nor SQL. An engine of the store runs `place_order`, or does the
same in one statement of its own.
"""

from orderapi import idempotency
from orderapi.documents import dump, order_members
from orderapi.records import Claim, NewOrder, Order, Reply
from orderapi.store.statements.transaction import ReadTx, WriteTx

# What an order leaves behind: one order with this status, one ledger entry of this type, one event
# of this type, and one saved answer with this HTTP status.
ORDER_STATUS = "created"
LEDGER_ENTRY_TYPE = "order_created"
EVENT_TYPE = "order.created"
REPLY_STATUS = 201


def find_reply(tx: ReadTx | WriteTx, claim: Claim) -> Reply | None:
    """Find the first answer to a claim. Returns None if the key is unknown.

    Raises KeyReused if the key belongs to another payload.
    """
    saved = tx.keys.find_claim(claim.client_id, claim.key)
    return idempotency.replay(saved, claim) if saved else None


def place_order(
    tx: WriteTx, claim: Claim, new_order: NewOrder, traceparent: str | None = None
) -> Reply:
    """Place an order exactly once: all of these statements share one COMMIT.

    `traceparent` names the trace of the request, and is stored with the event. A replay stores
    nothing.

    Raises KeyReused if the key belongs to another payload.
    """
    first_reply = find_reply(tx, claim)
    if first_reply:
        return first_reply
    order = tx.orders.insert_order(new_order, ORDER_STATUS)
    tx.orders.insert_ledger_entry(order, LEDGER_ENTRY_TYPE)
    tx.events.append_event(EVENT_TYPE, order, event_payload(order), traceparent)
    return tx.keys.save_claim(claim, first_answer(order))


def first_answer(order: Order) -> Reply:
    """Return the answer to the request that made an order. Every replay has the same bytes."""
    return Reply(REPLY_STATUS, dump(order_members(order)), order.order_id)


def event_payload(order: Order) -> str:
    """Return the JSON document of an order that its event contains."""
    return dump(order_members(order)).rstrip("\n")
