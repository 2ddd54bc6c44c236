"""The kinds of fields in requests: texts, keys and the integers of a query.

The `metadata` of a field become members of its JSON Schema in the OpenAPI document. They are its
description, and what apispec cannot read from its validators.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from orderapi import idempotency
from orderapi.errors import KeyInvalid
from orderapi.fields import BARE_KEY_CHARACTER, KEY_MAX_CHARS, QUOTED_KEY_CHARACTER

ID_MAX_CHARS = 128

# The patterns are regular expressions of ECMA-262, because JSON Schema requires these.
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_TEXT_PATTERN = rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$"
_QUOTED_KEY = rf'"{QUOTED_KEY_CHARACTER}{{1,{KEY_MAX_CHARS}}}"'
KEY_HEADER_PATTERN = rf"^(?:{BARE_KEY_CHARACTER}{{1,{KEY_MAX_CHARS}}}|{_QUOTED_KEY})$"
# A key in a query that does not begin with a quote is the key itself. White space around it is
# discarded.
_UNQUOTED_KEY = rf"[!#-~](?:[ -~]{{0,{KEY_MAX_CHARS - 2}}}[!-~])?"
_KEY_PARAMETER_PATTERN = rf"^[ \t]*(?:{_UNQUOTED_KEY}|{_QUOTED_KEY})[ \t]*$"

# Control characters and lone surrogates, as general categories of Unicode.
_FORBIDDEN_CATEGORIES = ("Cc", "Cs")


class Text(fields.String):
    """A customer_id or an item_id, which `description` explains."""

    def __init__(self, description: str, **options: Any) -> None:
        metadata = {
            "description": description,
            "minLength": 1,
            "maxLength": ID_MAX_CHARS,
            "pattern": _TEXT_PATTERN,
        }
        super().__init__(validate=check_text, metadata=metadata, **options)


class KeyParameter(fields.String):
    """An idempotency key in a query, which `description` explains."""

    def __init__(self, description: str, **options: Any) -> None:
        metadata = {"description": description, "pattern": _KEY_PARAMETER_PATTERN}
        super().__init__(validate=check_key, metadata=metadata, **options)


class QueryInteger(fields.Integer):
    """An integer in a query: ASCII digits without a sign, from `minimum` to `maximum`.

    `int` alone would also accept signs, underscores, white space and the digits of other scripts.
    Leading zeros are accepted if the text is not longer than `maximum`.
    """

    def __init__(self, minimum: int, maximum: int, **options: Any) -> None:
        refusal = f"Must be an integer from {minimum} to {maximum}."
        super().__init__(
            validate=validate.Range(minimum, maximum, error=refusal),
            error_messages={"invalid": refusal},
            **options,
        )
        self._digits = re.compile(rf"[0-9]{{1,{len(str(maximum))}}}")

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any
    ) -> int:
        if not isinstance(value, str) or not self._digits.fullmatch(value):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **options)


def check_text(value: str) -> None:
    """Check a customer_id or an item_id.

    Raises ValidationError if it is blank, too long, or contains control characters or lone
    surrogates.
    """
    if not 1 <= len(value) <= ID_MAX_CHARS:
        raise ValidationError(f"Must be 1 to {ID_MAX_CHARS} characters.")
    if value.isspace():
        raise ValidationError("Must not be blank.")
    if not value.isascii() or not value.isprintable():
        for character in value:
            if unicodedata.category(character) in _FORBIDDEN_CATEGORIES:
                raise ValidationError("Must not contain control characters or lone surrogates.")


def is_plain_text(value: object) -> bool:
    """Return whether `value` is an ASCII text that `check_text` accepts.

    `check_text` also accepts texts for which this function returns False.
    """
    return (
        type(value) is str
        and 0 < len(value) <= ID_MAX_CHARS
        and value.isascii()
        and value.isprintable()
        and not value.isspace()
    )


def check_key(value: str) -> None:
    """Check an idempotency key in a query.

    Raises ValidationError if it has neither of the two forms of a key.
    """
    try:
        idempotency.parse_key_parameter(value)
    except KeyInvalid as error:
        raise ValidationError(str(error)) from error
