"""Applies a schema to the data of a request, and turns its refusals into ValidationFailed."""

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import Schema, ValidationError

from orderapi.errors import ValidationFailed


def load(schema: Schema, data: object) -> dict[str, Any]:
    """Return the members of `data` after `schema` has checked and converted them.

    Raises ValidationFailed, with the messages by name, if `data` does not match the schema.
    """
    if not isinstance(data, Mapping):
        raise ValidationFailed({"_schema": ["Must be a JSON object."]})
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as error:
        raise ValidationFailed(error.messages_dict) from error
    return loaded


def load_query(schema: Schema, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the parameters of a query after `schema` has checked and converted them.

    `pairs` are the names and values in the query. Raises ValidationFailed if a parameter is
    invalid, unknown or given twice.
    """
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise ValidationFailed({name: ["This parameter is given more than once."]})
        parameters[name] = value
    return load(schema, parameters)
