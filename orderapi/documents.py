"""How JSON documents are written for clients, and how an order is written in them."""

import json

from orderapi.records import Order

# This encoder is made once, because `json.dumps` with arguments makes a new one every time.
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def order_members(order: Order) -> dict[str, object]:
    """Return the five members of an order that clients see."""
    return {
        "order_id": order.order_id,
        "customer_id": order.customer_id,
        "item_id": order.item_id,
        "quantity": order.quantity,
        "status": order.status,
    }


def dump(document: object) -> str:
    """Write a JSON document in the form that every answer has: compact, with a final line feed."""
    return encode(document) + "\n"
