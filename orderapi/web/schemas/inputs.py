"""What a valid order and a valid query are (marshmallow)."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from orderapi import idempotency
from orderapi.errors import KeyInvalid, MalformedJson, ValidationFailed

ID_MAX_CHARS = 128
QUANTITY_MAX = 1_000_000
PAGE_LIMIT_MAX = 100
PAGE_LIMIT_DEFAULT = 20
EVENT_LIMIT_MAX = 1000
EVENT_LIMIT_DEFAULT = 100
# As the store has it; zeros before it, as in an event's own `sequence`, are fine.
SEQUENCE_MAX = 2**63 - 1
WAIT_MAX_S = 30
# A valid body is one object deep; the JSON parser's own limit differs between Python versions.
JSON_DEPTH_MAX = 64

# Control characters and lone surrogates (Unicode general categories).
_FORBIDDEN_CATEGORIES = ("Cc", "Cs")
_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
# More digits than any valid quantity has; int() itself refuses some thousands of them.
_DIGITS_MAX = 18


def _check_text(value: str) -> None:
    if not 1 <= len(value) <= ID_MAX_CHARS:
        raise ValidationError(f"Must be 1 to {ID_MAX_CHARS} characters.")
    if value.isspace():
        raise ValidationError("Must not be blank.")
    if not value.isascii() or not value.isprintable():
        for character in value:
            if unicodedata.category(character) in _FORBIDDEN_CATEGORIES:
                raise ValidationError("Must not contain control characters or lone surrogates.")


def _check_integer(least: int, most: int) -> Callable[[str], None]:
    # Digits as text: a query knows no integers, and int() takes more forms than digits.
    digits = re.compile(rf"[0-9]{{1,{len(str(most))}}}")

    def check(value: str) -> None:
        if not digits.fullmatch(value) or not least <= int(value) <= most:
            raise ValidationError(f"Must be an integer from {least} to {most}.")

    return check


def _check_key(value: str) -> None:
    try:
        idempotency.parse_key_parameter(value)
    except KeyInvalid as error:
        raise ValidationError(str(error)) from error


class OrderSchema(Schema):
    """The body of `POST /orders`."""

    class Meta:
        """Refuse unknown fields."""

        unknown = RAISE

    customer_id = fields.String(required=True, validate=_check_text)
    item_id = fields.String(required=True, validate=_check_text)
    quantity = fields.Integer(
        required=True, strict=True, validate=validate.Range(min=1, max=QUANTITY_MAX)
    )


class OrderListSchema(Schema):
    """The query of `GET /orders`."""

    class Meta:
        """Refuse unknown parameters."""

        unknown = RAISE

    customer_id = fields.String(validate=_check_text)
    idempotency_key = fields.String(validate=_check_key)
    limit = fields.String(validate=_check_integer(1, PAGE_LIMIT_MAX))
    cursor = fields.String()


class EventListSchema(Schema):
    """The query of `GET /events`."""

    class Meta:
        """Refuse unknown parameters."""

        unknown = RAISE

    after = fields.String(validate=_check_integer(0, SEQUENCE_MAX))
    limit = fields.String(validate=_check_integer(1, EVENT_LIMIT_MAX))
    wait = fields.String(validate=_check_integer(0, WAIT_MAX_S))


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """A validated query of `GET /orders`; `key` is unescaped."""

    customer_id: str | None
    key: str | None
    limit: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A validated query of `GET /events`."""

    after: int
    limit: int
    wait_s: int


_order_schema = OrderSchema()
_order_list_schema = OrderListSchema()
_event_list_schema = EventListSchema()


def load_order(body: bytes) -> dict[str, Any]:
    """Read the body of a new order and give its members.

    Raises MalformedJson if it is not JSON, ValidationFailed if it is not an order.
    """
    return _load(_order_schema, _parse_json(body))


def load_order_query(pairs: Iterable[tuple[str, str]]) -> OrderQuery:
    """Read the query parameters of a list of orders.

    Raises ValidationFailed if one is bad, unknown or given twice.
    """
    query = _load(_order_list_schema, _once_each(pairs))
    key = query.get("idempotency_key")
    return OrderQuery(
        customer_id=query.get("customer_id"),
        key=None if key is None else idempotency.parse_key_parameter(key),
        limit=int(query.get("limit", PAGE_LIMIT_DEFAULT)),
        cursor=query.get("cursor"),
    )


def load_event_query(pairs: Iterable[tuple[str, str]]) -> EventQuery:
    """Read the query parameters of the feed.

    Raises ValidationFailed if one is bad, unknown or given twice.
    """
    query = _load(_event_list_schema, _once_each(pairs))
    return EventQuery(
        after=int(query.get("after", 0)),
        limit=int(query.get("limit", EVENT_LIMIT_DEFAULT)),
        wait_s=int(query.get("wait", 0)),
    )


def _load(schema: Schema, data: object) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ValidationFailed({"_schema": ["Must be a JSON object."]})
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as error:
        raise ValidationFailed(error.messages_dict) from error
    return loaded


def _once_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise ValidationFailed({name: ["Given more than once."]})
        parameters[name] = value
    return parameters


def _parse_json(body: bytes) -> object:
    try:
        text = body.decode("utf-8")
        parsed: object = _decode(text)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The body is not JSON in UTF-8.") from error
    if _is_too_deep(text):
        raise MalformedJson(f"The body is nested more than {JSON_DEPTH_MAX} deep.")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse_int(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS_MAX else 10**_DIGITS_MAX


# Made once, where json.loads would make a new one for every body.
_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_parse_int).decode


def _is_too_deep(text: str) -> bool:
    # In the text: of a member that is there twice, the parser keeps only the last one.
    if text.count("[") + text.count("{") <= JSON_DEPTH_MAX:
        return False
    depth = 0
    for token in _STRINGS_AND_BRACKETS.findall(text):
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        if depth > JSON_DEPTH_MAX:
            return True
    return False
