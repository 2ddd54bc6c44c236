"""The fast ways to read and to write JSON give what the standard library gives, byte by byte.

Saved answers, events and fingerprints were written with the standard library.
"""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orderapi.documents import dump, encode, encode_sorted
from orderapi.errors import MalformedJson
from orderapi.idempotency import fingerprint
from orderapi.web.schemas import json_body

texts = st.text(st.characters(), max_size=20)
# Without lone surrogates, which are not UTF-8.
clean_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.one_of(st.integers(), st.integers(-(2**70), 2**70), st.integers(0, 1_000_000))


def documents(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    leaves = st.one_of(names, integers, st.booleans(), st.none())
    return st.recursive(
        leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=20
    )


@given(documents(texts))
@example('\x00\x1f\x7f\x80\u2028\u2029/<>&"\\\ud83d\ud800\U0001f4e6\t\n\b\f\r')
def test_a_document_is_written_as_by_the_standard_library(document: Any) -> None:
    standard = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    assert encode(document) == standard
    assert dump(document) == standard + "\n"


@given(documents(texts))
def test_a_sorted_document_is_written_as_by_the_standard_library(document: Any) -> None:
    standard = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert encode_sorted(document) == standard


@given(st.dictionaries(clean_texts, clean_texts | integers))
def test_a_fingerprint_is_that_of_the_standard_library(payload: dict[str, Any]) -> None:
    standard = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    expected = hashlib.sha256(b"POST\n/orders\n" + standard.encode()).hexdigest()
    assert fingerprint("POST", "/orders", payload) == expected


def outcome(parse: Any, body: bytes) -> str:
    """Describe what a parser makes of a body, with the type of each value."""
    try:
        return repr(parse(body))
    except MalformedJson as error:
        return str(error)


def is_the_same(body: bytes) -> None:
    assert outcome(json_body.parse, body) == outcome(json_body._parse_strictly, body)


ODD_NUMBERS = [
    *("0", "-0", "1.0", "1e2", "1E400", "-1e400", "0.1", "01", "+1", "NaN", "Infinity", "--1"),
    *("9" * digits for digits in range(15, 22)),
    *("-" + "9" * digits for digits in range(15, 22)),
    *("1" + "0" * digits for digits in range(15, 22)),
    *(str(2**63), str(2**64), str(-(2**63) - 1), "9" * 400, "9" * 5000),
]


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_a_number_is_read_as_the_strict_parser_reads_it(number: str) -> None:
    is_the_same(b'{"quantity":%s}' % number.encode())
    is_the_same(number.encode())


@pytest.mark.parametrize("depth", [1, 62, 63, 64, 65, 1000, 1023, 1024, 1025, 5000])
def test_nesting_has_the_same_limit_as_in_the_strict_parser(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    is_the_same(nested)
    is_the_same(b'{"a":%s}' % nested)
    # The later member replaces the nested one.
    is_the_same(b'{"a":%s,"a":"x"}' % nested)
    is_the_same(b'{"a":"%s"}' % (b"[" * depth))


@given(documents(texts), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_any_json_is_read_as_the_strict_parser_reads_it(
    document: Any, ascii_only: bool, indent: Any
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    is_the_same(text.encode(errors="surrogatepass"))


pieces = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"a"', b'"b"', b'"', b"1", b"-", b".5", b"e3", b"true",
     b"null", b" ", b"\n", b"\\u00e9", b"\\ud800", b"\xc3\xa9", b"\xff", b"\xef\xbb\xbf", b"\x00"]
)  # fmt: skip
orders = st.fixed_dictionaries(
    {"customer_id": clean_texts, "item_id": clean_texts, "quantity": integers}
).map(lambda order: json.dumps(order).encode())


@given(st.lists(pieces | st.binary(max_size=3), max_size=15).map(b"".join))
def test_any_bytes_are_read_or_refused_as_the_strict_parser_does(body: bytes) -> None:
    is_the_same(body)
    is_the_same(b'{"a":' + body + b"}")


@given(orders, st.integers(0, 200), pieces)
def test_a_damaged_order_is_read_or_refused_as_the_strict_parser_does(
    order: bytes, at: int, damage: bytes
) -> None:
    is_the_same(order)
    is_the_same(order[:at] + damage + order[at:])
    is_the_same(order[:at] + order[at + 1 :])
