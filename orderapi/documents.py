"""How JSON is written for clients, and an order in it: as answered, as saved, as audited."""

import json

from orderapi.records import Order

# Compact JSON. Made once, where json.dumps would make a new one for every document.
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def order_members(order: Order) -> dict[str, object]:
    """Give the five members of an order that clients see."""
    return {
        "order_id": order.order_id,
        "customer_id": order.customer_id,
        "item_id": order.item_id,
        "quantity": order.quantity,
        "status": order.status,
    }


def dump(document: object) -> str:
    """Write a JSON document as every answer of ours has it."""
    return encode(document) + "\n"
