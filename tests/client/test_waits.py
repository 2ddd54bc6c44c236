"""How long the client waits before it retries."""

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from orderapi.client import DeadlineExceeded, OrderClient
from tests.support.client_answers import Always, customer, said
from tests.support.front import Front
from tests.support.raw_server import http, raw_server


def test_retry_after_is_waited_for(front: Front) -> None:
    front.answers = {1: said(503, Retry_After="1")}
    started = time.monotonic()
    with OrderClient(front.url) as client:
        client.create(customer(), "item1", 1)
    assert time.monotonic() - started >= 1.0


def test_retry_after_counts_against_the_deadline(front: Front, fronted_client: OrderClient) -> None:
    """A deadline of 60 s leaves time for two waits of 20 s, and so for three attempts."""
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


def test_waits_are_random_within_windows_that_double_up_to_a_maximum(
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
    # With full jitter any wait within the window is possible, so no two waits are equal.
    late = [wait_s for attempt, wait_s in waits if isinstance(attempt, int) and attempt > 7]
    assert len(set(late)) == len(late)


@pytest.mark.parametrize("off_s", [-600, 600])
def test_a_date_in_retry_after_is_compared_with_the_clock_of_the_service(off_s: int) -> None:
    """The clock of the client may differ from it by minutes."""
    answered = datetime.now(UTC) + timedelta(seconds=off_s)
    date, until = (
        format_datetime(moment, usegmt=True).encode()
        for moment in (answered, answered + timedelta(seconds=20))
    )
    with raw_server() as server, OrderClient(server.url, wait=False) as client:
        server.answer = http(503, b"", b"Date: " + date, b"Retry-After: " + until)
        with pytest.raises(DeadlineExceeded) as caught:
            client.get("x")
    assert caught.value.retry_after_s == 20
    # A deadline of 60 s leaves time for two waits of 20 s, and so for three attempts.
    assert caught.value.attempts == 3
