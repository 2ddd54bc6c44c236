"""The paths of the pages, for links between them."""

from urllib.parse import quote, urlencode

from flask import Flask

from orderapi import fields
from orderapi.documents import encode
from orderapi.records import IdempotencyRecord, Order

# The members of the body of `POST /orders`.
_MEMBERS = ("customer_id", "item_id", "quantity")


def register(app: Flask) -> None:
    """Give the templates of `app` these functions."""
    functions = (
        order_path,
        customer_path,
        client_path,
        client_orders_path,
        search_path,
        retry_path,
        header_of,
    )
    app.jinja_env.globals.update({function.__name__: function for function in functions})


def order_path(order_id: str) -> str:
    """Return the path of the page of an order."""
    return f"/orders/{quote(order_id, safe='')}"


def customer_path(customer_id: str) -> str:
    """Return the path of the list of a customer's orders."""
    return f"/orders?{urlencode({'customer': customer_id})}"


def client_path(client_id: str) -> str:
    """Return the path of the page of a client."""
    return f"/clients/{quote(client_id, safe='')}"


def client_orders_path(client_id: str) -> str:
    """Return the path of the list of a client's orders."""
    return f"/orders?{urlencode({'client': client_id})}"


def search_path(query: str) -> str:
    """Return the path of a search."""
    return f"/search?{urlencode({'q': query})}"


def retry_path(record: IdempotencyRecord, order: Order) -> str:
    """Return the path that asks what a retry of the first request of an order would get."""
    query = {"client": record.client_id, "key": header_of(record.key), "body": payload_of(order)}
    return f"/retry?{urlencode(query)}"


def payload_of(order: Order) -> str:
    """Return a body of `POST /orders` that has the meaning of the one that made an order."""
    return encode({name: getattr(order, name) for name in _MEMBERS})


def header_of(key: str) -> str:
    """Return the `Idempotency-Key` header of a stored key, or the key if damage has changed it."""
    try:
        return fields.format_key(key)
    except (fields.FieldInvalid, TypeError):
        return str(key)
