"""The caller of work without a time limit of its own waits only until the time limit."""

import contextvars
import threading

import pytest

from orderapi.time_limit import call_within


def test_the_result_or_the_exception_is_that_of_the_work() -> None:
    assert call_within(60, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        call_within(60, lambda: 1 // 0)


def test_the_caller_does_not_wait_for_work_that_hangs() -> None:
    done = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            call_within(0.05, lambda: done.wait(60))
    finally:
        done.set()


def test_the_work_sees_the_context_of_its_caller() -> None:
    """A log line of the work then has the caller's request id."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")
    request_id.set("request-1")
    assert call_within(60, request_id.get) == "request-1"


def test_a_thread_that_cannot_be_started_is_a_failure_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    called = []
    with pytest.raises(OSError, match="no thread could be started"):
        call_within(60, lambda: called.append(1))
    assert called == []
