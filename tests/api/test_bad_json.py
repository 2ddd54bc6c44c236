"""Complete bodies that `POST /orders` refuses. It stores nothing of them."""

import json

import pytest
from flask.testing import FlaskClient

from tests.support.http_messages import (
    check_problem,
    one_answer,
    order,
    raw_order,
)
from tests.support.running import ORDER, Server

BODY = json.dumps(ORDER).encode()


def with_member(name: str, written: str) -> bytes:
    """Write an order in JSON, in which one member has the value `written`."""
    members = {key: json.dumps(value) for key, value in ORDER.items()} | {name: written}
    return ("{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}").encode(
        "utf-8", "surrogatepass"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        BODY[:-1],
        BODY + b"x",
        BODY + BODY,
        BODY + b"\0",
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        BODY.decode().encode("utf-16-le"),
        BODY.decode().encode("utf-32-be"),
        b"'" + BODY + b"'",
        BODY.replace(b'"', b"'"),
        BODY[:-1] + b",}",
        b"/* */" + BODY,
        BODY.replace(b"cust1", b"\xff"),
        BODY.replace(b"cust1", b"\xc0\x80"),
        BODY.replace(b"cust1", b"\xed\xa0\x80"),
        BODY.replace(b"cust1", b"a\nb"),
        BODY.replace(b"cust1", b"a\0b"),
        BODY.replace(b"cust1", b"\\x41"),
        BODY.replace(b"cust1", b"\\ud80"),
        with_member("quantity", "NaN"),
        with_member("quantity", "Infinity"),
        with_member("quantity", "-Infinity"),
        with_member("extra", "[NaN]"),
        with_member("quantity", "01"),
        with_member("quantity", "+1"),
        with_member("quantity", ".5"),
        with_member("quantity", "0x1"),
        with_member("quantity", "1_0"),
        b"NaN",
        b"undefined",
        b"customer_id=cust1&item_id=item1&quantity=1",
    ],
)
def test_what_is_not_json_is_malformed(refusing: FlaskClient, body: bytes) -> None:
    check_problem(order(refusing, "k", body), "malformed-json")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "The body is empty."),
        (
            b"\xef\xbb\xbf" + BODY,
            "The body begins with a byte order mark. JSON must not have one (RFC 8259).",
        ),
    ],
)
def test_a_fault_that_cannot_be_seen_in_the_body_is_named(
    refusing: FlaskClient, body: bytes, detail: str
) -> None:
    assert check_problem(order(refusing, "k", body), "malformed-json")["detail"] == detail


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 8_000,
        b"[" * 8_000 + b"]" * 8_000,
        b'{"a":' * 2_700 + b"1" + b"}" * 2_700,
        with_member("customer_id", "[" * 8_000 + "]" * 8_000),
        with_member("customer_id", "[" * 64 + "]" * 64),
        b'[{"a":' * 2_000 + b"1" + b"}]" * 2_000,
        b'{"customer_id":' + b"[" * 64 + b"]" * 64 + b"," + BODY[1:],
    ],
)
def test_json_nested_too_deep_is_malformed(clean: Server, body: bytes) -> None:
    assert len(body) <= 16_384
    check_problem(one_answer(clean.raw(raw_order("deep", body))), "malformed-json")


def test_json_nested_as_deep_as_allowed_is_judged_by_its_content(clean: Server) -> None:
    body = with_member("customer_id", "[" * 63 + "]" * 63)
    check_problem(one_answer(clean.raw(raw_order("deep", body))), "validation-failed")


def test_brackets_in_texts_do_not_count_as_nesting(client: FlaskClient) -> None:
    assert order(client, "k", with_member("customer_id", json.dumps('["\\' * 40))).status == 201


def test_json_nested_100_000_deep_is_refused_as_too_large(clean: Server) -> None:
    body = b"[" * 100_000 + b"]" * 100_000
    check_problem(one_answer(clean.raw(raw_order("deep", body))), "body-too-large")


@pytest.mark.parametrize(
    "body", [b"null", b"true", b"1", b'"x"', b"[]", b"[" + BODY + b"]", b"1e9"]
)
def test_json_that_is_not_an_object_fails_validation(refusing: FlaskClient, body: bytes) -> None:
    document = check_problem(order(refusing, "k", body), "validation-failed")
    assert document["errors"]


# The fields.


@pytest.mark.parametrize(
    "quantity",
    [
        "0",
        "-0",
        "-1",
        "1000001",
        "1.0",
        "1.5",
        "1e2",
        "1E0",
        "1e400",
        "-1e400",
        "true",
        "false",
        "null",
        '"1"',
        '""',
        "[]",
        "[1]",
        "{}",
        "9223372036854775808",
        "-9223372036854775809",
        "1" + "0" * 5_000,
        "9" * 5_000,
        "-" + "9" * 5_000,
        "9" * 5_000 + ".5",
        "1" + "0" * 17 + "1",
    ],
)
def test_a_quantity_that_is_not_an_integer_from_1_to_1_000_000_is_refused(
    refusing: FlaskClient, quantity: str
) -> None:
    document = check_problem(
        order(refusing, "k", with_member("quantity", quantity)), "validation-failed"
    )
    assert list(document["errors"]) == ["quantity"]
    assert all(document["errors"]["quantity"])


@pytest.mark.parametrize("name", ["customer_id", "item_id"])
@pytest.mark.parametrize(
    "written",
    [
        "null",
        "1",
        "true",
        "[]",
        '["cust1"]',
        "{}",
        '""',
        '" "',
        '"\\t"',
        '"\u3000\u00a0"',
        '"' + "x" * 129 + '"',
        '"' + "\U0001f4e6" * 129 + '"',
        '"' + "\\ud83d\\udce6" * 129 + '"',
        '"\\u0000"',
        '"a\\u0000"',
        '"a\\nb"',
        '"\\u001b[31m"',
        '"a\u007f"',
        '"a\u0085b"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"a\\udfff"',
    ],
)
def test_a_text_that_is_blank_too_long_or_has_control_characters_is_refused(
    refusing: FlaskClient, name: str, written: str
) -> None:
    document = check_problem(order(refusing, "k", with_member(name, written)), "validation-failed")
    assert list(document["errors"]) == [name]


@pytest.mark.parametrize("name", list(ORDER))
def test_a_missing_field_is_named(refusing: FlaskClient, name: str) -> None:
    payload = {key: value for key, value in ORDER.items() if key != name}
    document = check_problem(order(refusing, "k", payload), "validation-failed")
    assert list(document["errors"]) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "order_id",
        "status",
        "Quantity",
        "quantity ",
        "",
        "__class__",
        "caf\u00e9",
        "a.b",
        "x" * 9_000,
    ],
)
def test_an_unknown_field_is_named(refusing: FlaskClient, name: str) -> None:
    document = check_problem(order(refusing, "k", ORDER | {name: 1}), "validation-failed")
    assert list(document["errors"]) == [name]


def test_a_name_with_a_lone_surrogate_is_refused_in_a_readable_document(
    refusing: FlaskClient,
) -> None:
    answer = order(refusing, "k", with_member("\\ud800", "1"))
    (name,) = check_problem(answer, "validation-failed")["errors"]
    assert name.encode()


def test_every_bad_field_is_named_at_once(refusing: FlaskClient) -> None:
    document = check_problem(order(refusing, "k", {"quantity": "1", "x": 1}), "validation-failed")
    assert set(document["errors"]) == {"customer_id", "item_id", "quantity", "x"}


def test_if_a_member_is_given_twice_the_last_one_counts(refusing: FlaskClient) -> None:
    body = BODY[:-1] + b', "quantity": 0}'
    document = check_problem(order(refusing, "k", body), "validation-failed")
    assert list(document["errors"]) == ["quantity"]
