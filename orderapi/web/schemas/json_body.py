"""Parses the JSON body of a request (RFC 8259), and limits how deep it may be nested."""

import codecs
import json
import re

import orjson

from orderapi.errors import MalformedJson

# A valid order is one object deep. The limit of Python's own parser differs between its versions.
DEPTH_MAX = 64

# More digits than any valid quantity has. `int` itself refuses texts of several thousand digits.
_INTEGER_MAX_DIGITS = 18
# Both parsers return the same value for an integer below this one. A sign is one more character.
_SAME_INTEGER = 10 ** (_INTEGER_MAX_DIGITS - 1)
_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def parse(body: bytes) -> object:
    """Return the value of a JSON body in UTF-8.

    If an object has a member twice, the last one counts. An integer of more than 18 digits becomes
    another integer, which is also out of range for every field.

    Raises MalformedJson if the body is not JSON, or if it is nested more than DEPTH_MAX deep.
    """
    parsed = _parse_flat(body)
    return _parse_strictly(body) if parsed is None else parsed


def _parse_flat(body: bytes) -> object | None:
    """Return the object if its members are texts and small integers, else None.

    Nearly every body is such an object. orjson parses it in a tenth of the time, with the same
    result as the strict parser. For large integers its result differs. It also does not report how
    deep a member was nested if a later member with the same name replaced it.
    """
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX:
        return None
    try:
        parsed: object = orjson.loads(body)
    except ValueError:
        return None
    if type(parsed) is not dict:
        return None
    for value in parsed.values():
        if type(value) is not str and (
            type(value) is not int or not -_SAME_INTEGER < value < _SAME_INTEGER
        ):
            return None
    return parsed


def _parse_strictly(body: bytes) -> object:
    try:
        text = body.decode("utf-8")
        parsed: object = _decode(text)
    except (ValueError, RecursionError) as error:
        raise MalformedJson(_describe_no_json(body)) from error
    if _is_too_deep(text):
        raise MalformedJson(f"The body is nested more than {DEPTH_MAX} levels deep.")
    return parsed


def _describe_no_json(body: bytes) -> str:
    """Name the two faults that a client does not see when it reads its own body."""
    if not body:
        return "The body is empty."
    if body.startswith(codecs.BOM_UTF8):
        return "The body begins with a byte order mark. JSON must not have one (RFC 8259)."
    return "The body is not JSON in UTF-8."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse_integer(digits: str) -> int:
    return int(digits) if len(digits) <= _INTEGER_MAX_DIGITS else 10**_INTEGER_MAX_DIGITS


# This decoder is made once. `json.loads` with arguments would make a new one for every body.
_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_parse_integer).decode


def _is_too_deep(text: str) -> bool:
    # The depth is counted in the text, because the parser keeps only the last one of two members
    # with the same name.
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return False
    depth = 0
    for token in _STRINGS_AND_BRACKETS.findall(text):
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        if depth > DEPTH_MAX:
            return True
    return False
