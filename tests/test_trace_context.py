"""W3C Trace Context: which headers are accepted, and what of them is passed on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.trace_context import parse_traceparent, trace_id

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE_ID}-{PARENT_ID}-01"


@pytest.mark.parametrize("flags", ["00", "01", "02", "03", "ff"])
def test_a_valid_header_is_passed_on_as_it_is(flags: str) -> None:
    header = f"00-{TRACE_ID}-{PARENT_ID}-{flags}"
    assert parse_traceparent(header) == header
    assert trace_id(header) == TRACE_ID


@pytest.mark.parametrize(
    ("later", "passed_on"),
    [
        (f"01-{TRACE_ID}-{PARENT_ID}-01", VALID),
        (f"cc-{TRACE_ID}-{PARENT_ID}-01-what-the-future-will-be-like", VALID),
        (f"fe-{TRACE_ID}-{PARENT_ID}-01-", VALID),
        (f"01-{TRACE_ID}-{PARENT_ID}-fe", f"00-{TRACE_ID}-{PARENT_ID}-00"),
        (f"01-{TRACE_ID}-{PARENT_ID}-ff", VALID),
    ],
)
def test_a_later_version_is_passed_on_as_the_known_one(later: str, passed_on: str) -> None:
    assert parse_traceparent(later) == passed_on


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        "",
        VALID.upper(),
        VALID[:-1],
        VALID[1:],
        VALID + "0",
        VALID + "-",
        VALID + "-extra",
        VALID + "\n",
        " " + VALID,
        f"{VALID},{VALID}",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"01-{TRACE_ID}-{PARENT_ID}-01.more",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00_{TRACE_ID}_{PARENT_ID}_01",
        f"00-{TRACE_ID[:-1]}g-{PARENT_ID}-01",
        f"00-{TRACE_ID[:-1]}\u0661-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-1",
        f"0-{TRACE_ID}-{PARENT_ID}-01",
    ],
)
def test_a_malformed_header_is_ignored(malformed: str | None) -> None:
    assert parse_traceparent(malformed) is None


@given(st.one_of(st.text(), st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*")))
def test_what_is_passed_on_is_always_valid(header: str) -> None:
    passed_on = parse_traceparent(header)
    if passed_on is not None:
        assert parse_traceparent(passed_on) == passed_on
        assert len(passed_on) == len(VALID)
        assert passed_on.isascii()
