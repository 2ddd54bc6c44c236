"""Orders that the short check accepts are exactly those that the schema accepts unchanged."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import ValidationError

from orderapi.errors import ValidationFailed
from orderapi.web.schemas.fields import ID_MAX_CHARS
from orderapi.web.schemas.orders import QUANTITY_MAX, NewOrderSchema, load_order

_NEAR_TEXTS = [
    "",
    " ",
    "\t",
    "a",
    " a ",
    "a\n",
    "\x7f",
    "\x1f",
    "\x85",
    "é",
    "\u2028",
    "\ud800",
    "😀",
]
_LENGTHS = [ID_MAX_CHARS - 1, ID_MAX_CHARS, ID_MAX_CHARS + 1]
_texts = st.sampled_from([*_NEAR_TEXTS, *("x" * length for length in _LENGTHS)]) | st.text(
    st.characters(), max_size=5
)
_quantities = st.sampled_from([0, 1, -1, QUANTITY_MAX, QUANTITY_MAX + 1, 1.0, 10**30, True, False])
_values = _texts | _quantities | st.none() | st.lists(st.integers(), max_size=1)
_names = st.sampled_from(["customer_id", "item_id", "quantity", "note", ""])
_whole = st.fixed_dictionaries({"customer_id": _texts, "item_id": _texts, "quantity": _quantities})


def _verdict(load: Any, data: Any) -> object:
    try:
        return load(data)
    except ValidationFailed as error:
        return error.errors
    except ValidationError as error:
        return error.messages


@given(_whole | st.dictionaries(_names, _values, max_size=4))
@example({"customer_id": "a", "item_id": "b", "quantity": 1})
@example({"customer_id": "a", "item_id": "b", "quantity": True})
@example({"customer_id": "a", "item_id": " ", "quantity": 1})
def test_the_short_check_and_the_schema_agree_on_every_order(data: dict[str, Any]) -> None:
    through_the_schema = _verdict(NewOrderSchema().load, data)
    assert _verdict(load_order, json.dumps(data).encode()) == through_the_schema


@pytest.mark.parametrize("text", ["a", "a b", "~" * ID_MAX_CHARS])
def test_a_plain_order_is_loaded_as_it_was_sent(text: str) -> None:
    order = {"customer_id": text, "item_id": text, "quantity": QUANTITY_MAX}
    assert load_order(json.dumps(order).encode()) == order
