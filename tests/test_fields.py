"""The grammar that service, client and receiver share: keys, Retry-After and webhook secrets."""

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.fields import (
    FieldInvalid,
    format_key,
    parse_key,
    parse_key_parameter,
    quote_key,
    retry_after_s,
    webhook_secret_key,
)

NOW = datetime(2026, 11, 22, 13, 26, 25, tzinfo=UTC)
NOW_S = NOW.timestamp()

printable = [chr(code) for code in range(0x20, 0x7F)]
keys = st.text(printable, min_size=1, max_size=255)


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.fixture
def _far_from_utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


# Keys. The tests of `orderapi.idempotency` concern the same grammar on the side of the service.


@given(keys)
def test_a_key_that_a_client_writes_is_the_key_that_the_service_reads(key: str) -> None:
    assert parse_key(format_key(key)) == key
    assert parse_key(quote_key(key)) == key
    assert parse_key_parameter(quote_key(key)) == key


@given(st.text())
def test_a_text_is_written_as_a_key_or_refused_without_being_repeated(text: str) -> None:
    if text and len(text) <= 255 and set(text) <= set(printable):
        assert parse_key(quote_key(text)) == text
    else:
        with pytest.raises(
            FieldInvalid, match=r"^expected 1 to 255 characters of printable ASCII$"
        ):
            quote_key(text)


def test_a_key_is_written_in_the_bare_form_if_possible() -> None:
    assert format_key("test-123") == "test-123"
    assert format_key("two words") == '"two words"'
    assert format_key('a"b\\c') == r'"a\"b\\c"'


@given(st.text())
def test_a_header_is_a_key_or_invalid(header: str) -> None:
    for parse in (parse_key, parse_key_parameter):
        try:
            key = parse(header)
        except FieldInvalid:
            continue
        assert parse_key(format_key(key)) == key


# Retry-After.


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("", 0), (None, 0), ("-1", 0), ("1.5", 0), ("soon", 0),
     ("\u0661", 0), ("1_000", 0), ("5, 10", 0), ("9" * 5_000, float("inf")),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 -2359", 0),
     ("Fri, 31 Dec 99999 23:59:59 GMT", 0)],
)  # fmt: skip
def test_retry_after_is_read_or_ignored(text: str | None, seconds: float) -> None:
    assert retry_after_s(text, None, NOW_S) == seconds
    assert retry_after_s(text, http_date(NOW), NOW_S) == seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S -0000",
                                  "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])  # fmt: skip
@pytest.mark.usefixtures("_far_from_utc")
def test_retry_after_may_be_a_date_in_each_form_of_http(form: str) -> None:
    text = (NOW + timedelta(seconds=90)).strftime(form)
    assert retry_after_s(text, None, NOW_S) == 90


@pytest.mark.parametrize("off_s", [-600, 600, 86_400 * 365])
def test_a_date_is_compared_with_the_date_of_its_own_answer(off_s: int) -> None:
    """The clocks of the two machines may differ."""
    answered = NOW + timedelta(seconds=off_s)
    until = http_date(answered + timedelta(seconds=30))
    assert retry_after_s(until, http_date(answered), NOW_S) == 30


@pytest.mark.parametrize("date", [None, "", "today", "Fri, 31 Dec 99999 23:59:59 GMT"])
def test_without_a_valid_date_in_the_answer_the_clock_of_this_machine_is_used(
    date: str | None,
) -> None:
    assert retry_after_s(http_date(NOW + timedelta(seconds=30)), date, NOW_S) == 30


dates = st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [-+\w]*") | st.datetimes().map(
    lambda moment: http_date(moment.replace(tzinfo=UTC))
)  # fmt: skip


@given(dates | st.none(), dates | st.none(), st.floats(0, 2.0**40))
def test_no_headers_are_ever_an_error(
    retry_after: str | None, date: str | None, now_s: float
) -> None:
    assert retry_after_s(retry_after, date, now_s) >= 0


# Webhook secrets.


@given(st.binary(min_size=1))
def test_a_secret_contains_its_key(key: bytes) -> None:
    assert webhook_secret_key("whsec_" + base64.b64encode(key).decode()) == key


@given(st.text() | st.text().map("whsec_".__add__))
def test_any_text_is_a_secret_or_refused(text: str) -> None:
    try:
        key = webhook_secret_key(text)
    except FieldInvalid:
        return
    assert base64.b64decode(text.removeprefix("whsec_")) == key


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_***", "whsec_YQ", "c2VjcmV0", "WHSEC_YQ=="])
def test_a_secret_has_its_prefix_and_whole_base64(text: str) -> None:
    with pytest.raises(FieldInvalid, match=r"^expected whsec_ and base64$"):
        webhook_secret_key(text)
