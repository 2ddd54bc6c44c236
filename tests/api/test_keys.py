"""Properties of idempotency keys and fingerprints, and the digests that may never change."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.errors import KeyInvalid, KeyMissing, KeyReused
from orderapi.idempotency import fingerprint, key_digest, parse_key, parse_key_parameter, replay
from orderapi.records import Claim, SavedClaim
from orderapi.web.schemas.orders import load_order

PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
BARE = [character for character in PRINTABLE if character not in ' ,"']

keys = st.text(PRINTABLE, min_size=1, max_size=255)
bare_keys = st.text(BARE, min_size=1, max_size=255)
outer = st.text(" \t", max_size=3)
# A header can contain any character of latin-1.
headers = st.text(st.characters(max_codepoint=0xFF), max_size=300)
texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=128).filter(
    lambda text: not text.isspace()
)
payloads = st.fixed_dictionaries(
    {"customer_id": texts, "item_id": texts, "quantity": st.integers(1, 1_000_000)}
)


def quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(keys, outer, outer)
def test_any_printable_key_can_be_sent_quoted(key: str, before: str, after: str) -> None:
    assert parse_key(before + quoted(key) + after) == key


@given(bare_keys, outer, outer)
def test_both_forms_name_the_same_key(key: str, before: str, after: str) -> None:
    assert parse_key(before + key + after) == parse_key(quoted(key)) == key


@given(keys)
def test_a_query_names_a_key_in_either_form(key: str) -> None:
    assert parse_key_parameter(quoted(key)) == key
    if key == key.strip(" ") and not key.startswith('"'):
        assert parse_key_parameter(key) == key


@given(headers)
def test_every_header_is_a_key_or_refused(header: str) -> None:
    try:
        key = parse_key(header)
    except KeyInvalid:
        return
    assert 1 <= len(key) <= 255
    assert set(key) <= set(PRINTABLE)
    assert header.strip(" \t") in (key, quoted(key))


@given(st.lists(st.text([*PRINTABLE, "\t"], max_size=20), min_size=2, max_size=4))
def test_a_join_of_headers_with_a_control_character_is_refused(values: list[str]) -> None:
    with pytest.raises(KeyInvalid):
        parse_key(",".join([*values, "\x7f"]))


@given(st.text(BARE, min_size=256, max_size=300))
def test_a_key_of_more_than_255_characters_is_refused(key: str) -> None:
    for form in (key, quoted(key)):
        with pytest.raises(KeyInvalid):
            parse_key(form)


def test_the_limit_counts_characters_after_unescaping() -> None:
    assert parse_key(quoted('"' * 255)) == '"' * 255
    with pytest.raises(KeyInvalid):
        parse_key(quoted("\\" * 256))


def test_a_missing_key_and_an_empty_key_are_different_errors() -> None:
    with pytest.raises(KeyMissing):
        parse_key(None)
    for empty in ("", " ", '""'):
        with pytest.raises(KeyInvalid):
            parse_key(empty)


@given(keys, keys)
def test_digests_are_short_and_differ_for_different_keys(one: str, other: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", key_digest(one))
    assert (key_digest(one) == key_digest(other)) == (one == other)


@given(payloads, st.randoms(), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_payloads_with_the_same_meaning_have_the_same_fingerprint(
    payload: dict[str, Any], rng: random.Random, ascii_only: bool, indent: Any
) -> None:
    members = list(payload.items())
    rng.shuffle(members)
    body = json.dumps(dict(members), ensure_ascii=ascii_only, indent=indent).encode()
    assert fingerprint("POST", "/orders", load_order(body)) == fingerprint(
        "POST", "/orders", payload
    )


@given(payloads, payloads)
def test_different_payloads_have_different_fingerprints(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = fingerprint("POST", "/orders", one) == fingerprint("POST", "/orders", other)
    assert same == (one == other)


@given(payloads)
def test_method_and_path_are_part_of_the_fingerprint(payload: dict[str, Any]) -> None:
    requests = [("POST", "/orders"), ("PUT", "/orders"), ("POST", "/order"), ("POST", "/orders/")]
    assert len({fingerprint(method, path, payload) for method, path in requests}) == len(requests)


@given(texts, texts)
def test_the_same_text_in_another_field_is_another_payload(one: str, other: str) -> None:
    straight = {"customer_id": one, "item_id": other, "quantity": 1}
    crossed = {"customer_id": other, "item_id": one, "quantity": 1}
    same = fingerprint("POST", "/orders", straight) == fingerprint("POST", "/orders", crossed)
    assert same == (one == other)


# A digest is saved with every order. If one of these changed, retries of old requests would be
# conflicts.
@pytest.mark.parametrize(
    ("payload", "digest"),
    [
        (
            {"customer_id": "cust1", "item_id": "item1", "quantity": 1},
            "a3c2a98e20e6ac674f043b72a0cb003c6ae619fc5816d91fefee260dfc4d8407",
        ),
        (
            {
                "customer_id": "caf\u00e9 \U0001f4e6",
                "item_id": '"\\/<&>\u2028',
                "quantity": 1_000_000,
            },
            "8e5bbfa62d8916d1fa8452a38587242a1125b430b527d443991d37feffe15060",
        ),
        (
            {"quantity": 5, "item_id": "\ufb33\u20ac", "customer_id": " x "},
            "e4326c4ce6bcae7e013d9e50d21d9f32509b32a0897957aedf5401688e2df855",
        ),
    ],
)
def test_fingerprints_never_change(payload: dict[str, Any], digest: str) -> None:
    assert fingerprint("POST", "/orders", payload) == digest


def test_the_hashes_of_keys_in_the_log_never_change() -> None:
    assert key_digest("test-123") == "37eb19184eb9"


def test_a_replay_needs_the_same_fingerprint() -> None:
    saved = SavedClaim("f" * 64, 201, "{}\n", "id")
    reply = replay(saved, Claim("public", "k", "f" * 64))
    assert (reply.status, reply.body, reply.order_id, reply.replayed) == (201, "{}\n", "id", True)
    with pytest.raises(KeyReused):
        replay(saved, Claim("public", "k", "e" * 64))
