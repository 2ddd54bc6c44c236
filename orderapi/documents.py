"""Writes JSON documents for clients, and returns the members of an order in them."""

import json

import orjson

from orderapi.records import Order

# The encoders of the standard library define the bytes. They are made once, because `json.dumps`
# with arguments would make a new encoder for every call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encode_sorted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def encode(document: object) -> str:
    """Return a compact JSON document of objects, lists, texts, integers, booleans and null.

    orjson writes the same text several times faster. It refuses lone surrogates and integers of
    more than 64 bits, and then the standard library writes the document. `document` must not
    contain floats, because the two libraries write some of them differently.
    """
    try:
        return orjson.dumps(document).decode()
    except TypeError:
        return _encode(document)


def encode_sorted(document: object) -> str:
    """Return a document as `encode` does, with the members of each object sorted by name."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return _encode_sorted(document)


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
    """Return a JSON document as every answer has it: compact, with a final line feed."""
    return encode(document) + "\n"
