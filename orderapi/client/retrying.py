"""Repeats an attempt until it has its result, is refused, or the deadline has passed."""

import logging
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar, cast

import tenacity

from orderapi import fields
from orderapi.client.arguments import check_seconds
from orderapi.client.exchange import Exchange, Request, WholeAnswer
from orderapi.client.failures import AnswerLost, DeadlineExceeded, Refused, Unavailable, refusal

T = TypeVar("T")

# These statuses are never retried, because the request itself is wrong. This does not depend on the
# problem document.
NEVER_RETRIED = frozenset({400, 401, 403, 404, 409, 413, 415, 422})
# These statuses are retried unless the problem document forbids it, because the service or a proxy
# could not serve the request at that moment.
RETRIED = frozenset({429, 500, 502, 503, 504})

# The wait is random, from 0 to the end of a window that doubles (full jitter). Then callers whose
# attempts failed at the same time do not repeat them at the same time. For the same reason, the
# random wait is added to Retry-After.
_WINDOW_FIRST_S = 0.1
_WINDOW_MAX_S = 5.0
# If a wait takes longer than planned, no time may be left. The next attempt still gets this much.
_ATTEMPT_MIN_S = 0.01

_log = logging.getLogger("orderapi.client")


class Retries:
    """Makes attempts until one has the result, one is refused, or the deadline would pass.

    `deadline_s` limits a whole call with its waits, and `attempt_s` limits one attempt, both in
    seconds. An attempt gets at most half of the deadline, so that there is time for another one if
    it hangs. If `waits` is false, a wait takes no time, but it counts against the deadline in full.

    Raises ValueError if a limit is not valid.
    """

    def __init__(
        self, exchange: Exchange, *, deadline_s: float, attempt_s: float, waits: bool
    ) -> None:
        check_seconds(deadline_s, attempt_s)
        self._exchange = exchange
        self._deadline_s = deadline_s
        self._attempt_s = min(attempt_s, deadline_s / 2)
        self._waits = waits

    def call(
        self, request: Request, read: Callable[[WholeAnswer], T], service_wait_s: float = 0.0
    ) -> T:
        """Send a request until it has a result, and return the result.

        `read` returns the result in a 2xx answer. It raises AnswerLost if the answer does not
        belong to this request. `service_wait_s` is how many seconds the service may wait for an
        event before it answers. It is added to both limits.

        Raises DeadlineExceeded if there is no result in time, and Refused if it is refused.
        """
        deadline = _Deadline(self._deadline_s + service_wait_s, waits=self._waits)

        def attempt() -> T:
            timeout_s = min(self._attempt_s + service_wait_s, deadline.remaining_s())
            answer = self._exchange.send(request, max(timeout_s, _ATTEMPT_MIN_S))
            if not 200 <= answer.status < 300:
                raise self._failure(request, answer)
            return read(answer)

        def give_up(state: tenacity.RetryCallState) -> NoReturn:
            last = _last_failure(state)
            raise DeadlineExceeded(
                deadline.seconds, state.attempt_number, request.key, last
            ) from last

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((AnswerLost, Unavailable)),
            wait=tenacity.wait_random_exponential(multiplier=_WINDOW_FIRST_S, max=_WINDOW_MAX_S)
            + tenacity.wait_exception(_retry_after_s),
            stop=lambda state: state.upcoming_sleep >= deadline.remaining_s(),
            sleep=deadline.wait,
            before_sleep=_log_wait,
            retry_error_callback=give_up,
        )
        return retrying(attempt)

    def pause(self, seconds: float) -> None:
        """Wait between two calls, unless `waits` is false."""
        if self._waits:
            time.sleep(seconds)

    def _failure(self, request: Request, answer: WholeAnswer) -> Unavailable | Refused:
        problem = self._exchange.problem(answer)
        retryable = problem.get("retryable")
        if not isinstance(retryable, bool):
            retryable = answer.status in RETRIED
        # Only the caller may decide to use a new key, because a new key could make a second order.
        is_same_key = problem.get("key_action") != "rotate"
        if retryable and is_same_key and answer.status not in NEVER_RETRIED:
            retry_after_s = fields.retry_after_s(
                answer.headers.get("retry-after"), answer.headers.get("date"), time.time()
            )
            return Unavailable(answer.status, problem, request.key, retry_after_s)
        return refusal(answer.status, problem, request.key)


class _Deadline:
    """The time for one call. If `waits` is false, a wait takes no time, but it counts."""

    def __init__(self, seconds: float, *, waits: bool) -> None:
        self.seconds = seconds
        self._waits = waits
        self._ends_at = time.monotonic() + seconds

    def remaining_s(self) -> float:
        return self._ends_at - time.monotonic()

    def wait(self, seconds: float) -> None:
        if self._waits:
            time.sleep(seconds)
        else:
            self._ends_at -= seconds


def _last_failure(state: tenacity.RetryCallState) -> AnswerLost | Unavailable:
    """Return the failure of the latest attempt."""
    outcome = cast("tenacity.Future", state.outcome)
    return cast("AnswerLost | Unavailable", outcome.exception())


def _retry_after_s(failure: BaseException) -> float:
    return failure.retry_after_s if isinstance(failure, Unavailable) else 0.0


def _log_wait(state: tenacity.RetryCallState) -> None:
    _log.info(
        "attempt %d failed (%s); the next attempt is in %.3f s",
        state.attempt_number,
        _last_failure(state),
        state.upcoming_sleep,
    )
