"""How long a client waits before it tries again."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.client import DeadlineExceeded, OrderClient
from orderapi.client.retrying import seconds_until
from tests.support.client_answers import Always, customer, said
from tests.support.front import Front


@pytest.fixture
def _far_from_utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_retry_after_is_waited_for(front: Front) -> None:
    front.answers = {1: said(503, Retry_After="1")}
    started = time.monotonic()
    with OrderClient(front.url) as client:
        client.create(customer(), "item1", 1)
    assert time.monotonic() - started >= 1.0


def test_retry_after_counts_against_the_deadline(front: Front, fronted_client: OrderClient) -> None:
    """60 s have room for 20 s twice: three attempts."""
    front.answers = Always(said(429, Retry_After="20"))
    with pytest.raises(DeadlineExceeded) as caught:
        fronted_client.create(customer(), "item1", 1)
    assert caught.value.attempts == 3
    assert caught.value.retry_after_s == 20


@pytest.mark.parametrize("retry_after", ["61", "9" * 400])
def test_a_retry_after_beyond_the_deadline_is_not_waited_for(
    front: Front, retry_after: str
) -> None:
    front.answers = Always(said(503, Retry_After=retry_after))
    with OrderClient(front.url) as client, pytest.raises(DeadlineExceeded) as caught:
        client.create(customer(), "item1", 1)
    assert caught.value.attempts == 1
    assert caught.value.retry_after_s >= 61


def test_waits_come_from_windows_that_double_up_to_a_limit(
    front: Front, fronted_client: OrderClient, caplog: pytest.LogCaptureFixture
) -> None:
    front.answers = Always(said(500))
    caplog.set_level(logging.INFO, "orderapi.client")
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            fronted_client.get("x")
    noted = [r.args for r in caplog.records if r.name == "orderapi.client"]
    waits = [(args[0], args[2]) for args in noted if isinstance(args, tuple)]
    assert len(waits) == len(noted) > 30
    for attempt, wait_s in waits:
        assert isinstance(attempt, int)
        assert isinstance(wait_s, float)
        assert 0 <= wait_s <= min(0.1 * 2 ** (attempt - 1), 5.0)
    # Full jitter: any part of the window may come.
    late = [wait_s for attempt, wait_s in waits if isinstance(attempt, int) and attempt > 7]
    assert len(set(late)) == len(late)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("", 0), ("-1", 0), ("1.5", 0), ("soon", 0), ("\u0661", 0),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 -2359", 0)],
)  # fmt: skip
def test_retry_after_is_read_or_ignored(text: str, seconds: float) -> None:
    assert seconds_until(text) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000", ""])
@pytest.mark.usefixtures("_far_from_utc")
def test_retry_after_may_be_a_date(zone: str) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=90)
    date = format_datetime(moment, usegmt=True).replace("GMT", zone)
    assert 80 < seconds_until(date) <= 90


@given(st.text())
def test_no_retry_after_is_a_failure(text: str) -> None:
    assert seconds_until(text) >= 0
