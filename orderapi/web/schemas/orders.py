"""The schemas of orders: the body of a new order, the query of a list, and the answers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

from marshmallow import fields, validate

from orderapi import idempotency
from orderapi.orders import ORDER_STATUS
from orderapi.web.schemas import json_body
from orderapi.web.schemas.closed import ClosedSchema
from orderapi.web.schemas.fields import KeyParameter, QueryInteger, Text, is_plain_text
from orderapi.web.schemas.loading import load, load_query

QUANTITY_MAX = 1_000_000
PAGE_MAX_ORDERS = 100
PAGE_DEFAULT_ORDERS = 20

ORDER_ID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z"


class NewOrderSchema(ClosedSchema):
    """The body of `POST /orders`."""

    customer_id = Text(
        "Who orders. It is not blank, and it has no control characters.", required=True
    )
    item_id = Text(
        "What is ordered. It is not blank, and it has no control characters.", required=True
    )
    quantity = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(min=1, max=QUANTITY_MAX),
        metadata={"description": "How many of the item are ordered. `1.0` is refused."},
    )


class OrderQuerySchema(ClosedSchema):
    """The query of `GET /orders`."""

    customer_id = Text("Only the orders of this customer are listed.")
    idempotency_key = KeyParameter(
        "Only the order that was made under this key is listed. It is for a client that has lost "
        "the answer. The value is the key itself, or the key as a quoted string."
    )
    limit = QueryInteger(
        1,
        PAGE_MAX_ORDERS,
        load_default=PAGE_DEFAULT_ORDERS,
        metadata={"description": "The maximum number of orders in the answer."},
    )
    cursor = fields.String(
        metadata={
            "description": "The `next_cursor` of the page before. A cursor belongs to the filters "
            "with which it was made."
        }
    )


class OrderSchema(NewOrderSchema):
    """An order as every answer shows it."""

    order_id = fields.String(
        required=True,
        validate=validate.Regexp(ORDER_ID_PATTERN),
        metadata={
            "description": "A UUIDv7 that the service has chosen. It is opaque to clients.",
            "format": "uuid",
        },
    )
    status = fields.String(
        required=True,
        validate=validate.Equal(ORDER_STATUS),
        metadata={"description": "An order is `created` and never changes."},
    )


class OrderPageSchema(ClosedSchema):
    """The answer of `GET /orders`."""

    orders = fields.List(
        fields.Nested(OrderSchema),
        required=True,
        validate=validate.Length(max=PAGE_MAX_ORDERS),
        metadata={"description": "The orders, the newest one first."},
    )
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The `cursor` of the next page, or null if this is the last page."
        },
    )


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """A validated query of `GET /orders`. `key` is the key itself, without quotes and escapes."""

    customer_id: str | None
    key: str | None
    limit: int
    cursor: str | None


_new_order = NewOrderSchema()
_order_query = OrderQuerySchema()


def load_order(body: bytes) -> dict[str, Any]:
    """Return the members of a new order, read from its JSON body.

    Raises MalformedJson if the body is not JSON, and ValidationFailed if it is not an order.
    """
    data = json_body.parse(body)
    return data if _is_plain_order(data) else load(_new_order, data)


def _is_plain_order(data: object) -> TypeGuard[dict[str, Any]]:
    """Return whether `data` is so simple that `NewOrderSchema` would return it unchanged.

    Nearly all orders are that simple. This check takes 1 microsecond of CPU, and the schema takes
    30. The schema checks all other orders, and only the schema refuses an order.
    """
    return (
        type(data) is dict
        and data.keys() == _new_order.fields.keys()
        and is_plain_text(data["customer_id"])
        and is_plain_text(data["item_id"])
        and type(data["quantity"]) is int
        and 1 <= data["quantity"] <= QUANTITY_MAX
    )


def load_order_query(pairs: Iterable[tuple[str, str]]) -> OrderQuery:
    """Return the query of a list of orders, read from its parameters.

    Raises ValidationFailed if a parameter is invalid, unknown or given twice.
    """
    query = load_query(_order_query, pairs)
    key = query.get("idempotency_key")
    return OrderQuery(
        customer_id=query.get("customer_id"),
        key=None if key is None else idempotency.parse_key_parameter(key),
        limit=query["limit"],
        cursor=query.get("cursor"),
    )
