"""The pause before the next attempt, for every `Retry-After` and every random number."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.relay.attempt import Outcome
from orderapi.relay.retry_pause import Backoff
from tests.support.relay_fakes import START_S

NOW = datetime.fromtimestamp(START_S, UTC)


def asked_s(value: str | None) -> float:
    return Outcome(503, "HTTP 503", value).retry_after_s(START_S)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("-1", 0),
        ("1.5", 0),
        ("1_000", 0),
        ("\u0661", 0),
        ("9" * 5_000, float("inf")),
        ("tomorrow", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ((NOW + timedelta(seconds=90)).strftime("%A, %d-%b-%y %H:%M:%S GMT"), 90),
        ((NOW + timedelta(seconds=90)).strftime("%a %b %d %H:%M:%S %Y"), 90),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 0),
        ("5, 10", 0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str | None, seconds: float) -> None:
    assert asked_s(value) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [-+\w]*"))
def test_no_retry_after_is_ever_an_error(value: str) -> None:
    assert asked_s(value) >= 0


@given(st.integers(1, 10_000), st.floats(0) | st.just(float("inf")))
def test_a_pause_is_within_its_bounds(failures: int, asked: float) -> None:
    backoff = Backoff()
    pause_s = backoff.pause_s(failures, asked)
    assert min(asked, backoff.retry_after_max_s) <= pause_s
    assert pause_s <= max(backoff.pause_max_s, min(asked, backoff.retry_after_max_s))
    if failures < 5 and not asked:
        assert pause_s <= backoff.first_s * 2 ** (failures - 1)


def test_a_pause_is_random_between_0_and_its_bound() -> None:
    pauses = [Backoff().pause_s(10) for _ in range(1_000)]
    # With full jitter, 1 in 10^18 runs has no pause below 3 s, or none above 57 s.
    assert min(pauses) < 3
    assert max(pauses) > 57


@pytest.mark.parametrize("off_s", [-600, 600])
def test_a_date_in_retry_after_is_compared_with_the_clock_of_the_receiver(off_s: int) -> None:
    answered = NOW + timedelta(seconds=off_s)
    date, until = (
        format_datetime(moment, usegmt=True)
        for moment in (answered, answered + timedelta(seconds=30))
    )
    assert Outcome(503, "HTTP 503", until, date).retry_after_s(START_S) == 30
