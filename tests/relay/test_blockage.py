"""What the log says of a line that stands still."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from orderapi.relay.attempt import Answer
from orderapi.relay.blockage import REPEAT_S
from orderapi.relay.clock import Stopped
from orderapi.store.sqlite.store import SqliteStore
from tests.support.relay_fakes import FakeClock, FakeReceiver, failed, fill, relay
from tests.support.rows import query

Lines = Callable[[], list[logging.LogRecord]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What an operator sees who has not asked for more."""
    caplog.set_level(logging.DEBUG)
    return lambda: [record for record in caplog.records if record.levelno > logging.DEBUG]


def deliver(store: SqliteStore, script: list[Answer]) -> None:
    with pytest.raises(Stopped):
        relay(store, FakeReceiver(script), FakeClock().until_idle()).run()


def test_it_says_how_far_behind_since_when_and_why(
    three: SqliteStore, tmp_path: Path, lines: Lines
) -> None:
    deliver(three, [failed(204), failed(503)])
    blocked, moving = (vars(record) for record in lines())
    assert blocked["levelname"] == "WARNING"
    assert blocked["message"] == "event 2 is not taken: HTTP 503"
    ((event_id, created_at),) = query(
        tmp_path / "orders.db", "SELECT event_id, created_at FROM events WHERE sequence = 2"
    )
    found = {name: blocked[name] for name in ("waiting", "event_id", "oldest_event", "failures")}
    assert found == {
        "waiting": 2,
        "event_id": event_id,
        "oldest_event": created_at,
        "failures": 1,
    }
    assert blocked["blocked_since"] == "2027-01-15T08:00:00Z"
    assert blocked["next_attempt_s"] == 1
    assert (moving["message"], moving["failures"], moving["blocked_s"]) == (
        "the events move again",
        1,
        1,
    )


def test_a_receiver_that_is_down_for_long_is_not_told_of_at_every_attempt(
    store: SqliteStore, caplog: pytest.LogCaptureFixture, lines: Lines
) -> None:
    fill(store, 1)
    attempts = 200
    deliver(store, [failed()] * attempts)
    # The pauses before the last attempt: 1, 2, 4, 8, 16 and 32 s, and then a minute each.
    down_s = 63 + (attempts - 7) * 60
    assert len(lines()) - len(["the first", "moves again"]) == down_s // REPEAT_S
    debug = [r for r in caplog.records if r.message == "event 1 is not taken: HTTP 500"]
    assert len(debug) == attempts


def test_a_new_reason_is_told_at_once(store: SqliteStore, lines: Lines) -> None:
    fill(store, 1)
    deliver(store, [failed(500), failed(500), failed(None), failed(None), failed(401)])
    messages = [record.message for record in lines()]
    assert messages == [
        "event 1 is not taken: HTTP 500",
        "event 1 is not taken: no answer",
        "event 1 is not taken: HTTP 401",
        "the events move again",
    ]


def test_a_line_that_moves_is_not_told_of(store: SqliteStore, lines: Lines) -> None:
    fill(store, 20)
    deliver(store, [])
    assert lines() == []
