"""What the relay logs while it cannot deliver."""

import logging
from collections.abc import Callable

import pytest

from orderapi.relay.attempt import Message, Outcome
from orderapi.relay.clock import Stopped
from orderapi.relay.consecutive_failures import REPEAT_S
from orderapi.store.contract import Store
from tests.support.engines import Engine
from tests.support.relay_fakes import FakeClock, FakeReceiver, failed, fill, relay

Lines = Callable[[], list[logging.LogRecord]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """The log lines that an operator sees at the default log level."""
    caplog.set_level(logging.DEBUG)
    return lambda: [record for record in caplog.records if record.levelno > logging.DEBUG]


def deliver(store: Store, script: list[Outcome]) -> None:
    with pytest.raises(Stopped):
        relay(store, FakeReceiver(script), FakeClock().until_idle()).run()


def test_a_warning_has_the_backlog_the_time_and_the_reason(
    three: Store, engine: Engine, lines: Lines
) -> None:
    deliver(three, [failed(204), failed(503)])
    blocked, moving = (vars(record) for record in lines())
    assert blocked["levelname"] == "WARNING"
    assert blocked["message"] == "event 2 was not delivered: HTTP 503"
    ((event_id, created_at),) = engine.query(
        "SELECT event_id, created_at FROM events WHERE sequence = 2"
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
        "the failures have ended; deliveries continue",
        1,
        1,
    )


def test_a_long_blockage_is_logged_every_five_minutes_only(
    store: Store, caplog: pytest.LogCaptureFixture, lines: Lines
) -> None:
    fill(store, 1)
    attempts = 200
    deliver(store, [failed()] * attempts)
    # The pauses are 1, 2, 4, 8, 16 and 32 s, and a minute before each later attempt.
    down_s = 63 + (attempts - 7) * 60
    assert len(lines()) - len(["the first", "moves again"]) == down_s // REPEAT_S
    debug = [r for r in caplog.records if r.message == "event 1 was not delivered: HTTP 500"]
    assert len(debug) == attempts


def test_a_new_reason_is_logged_immediately(store: Store, lines: Lines) -> None:
    fill(store, 1)
    deliver(store, [failed(500), failed(500), failed(None), failed(None), failed(401)])
    messages = [record.message for record in lines()]
    assert messages == [
        "event 1 was not delivered: HTTP 500",
        "event 1 was not delivered: no answer",
        "event 1 was not delivered: HTTP 401",
        "the failures have ended; deliveries continue",
    ]


def test_successful_deliveries_log_nothing(store: Store, lines: Lines) -> None:
    fill(store, 20)
    deliver(store, [])
    assert lines() == []


@pytest.mark.parametrize("step_s", [-7200, 7200])
def test_a_clock_that_is_set_changes_neither_the_interval_nor_the_duration(
    store: Store, lines: Lines, step_s: float
) -> None:
    fill(store, 1)
    clock = FakeClock().until_idle()

    def set_clock(_: Message) -> None:
        if len(receiver.messages) == 3:
            clock.now_s += step_s

    attempts = 200
    receiver = FakeReceiver([failed()] * attempts, on_send=set_clock)
    with pytest.raises(Stopped):
        relay(store, receiver, clock).run()
    last_failure_s = 63 + (attempts - 7) * 60
    *warnings, end = lines()
    assert len(warnings) == 1 + last_failure_s // REPEAT_S
    assert vars(end)["blocked_s"] == last_failure_s + 60
    assert {vars(line)["blocked_since"] for line in warnings} == {"2027-01-15T08:00:00Z"}
