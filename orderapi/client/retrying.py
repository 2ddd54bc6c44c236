"""Which attempts are made again, when, and until when."""

import datetime
import email.utils
import logging
import math
import re
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar, cast

import tenacity

from orderapi.client.exchange import Answer, Exchange, Request
from orderapi.client.failures import AnswerLost, DeadlineExceeded, Refused, Unavailable, refusal

T = TypeVar("T")

# Whatever the answer's document says: the request itself is wrong.
NEVER_RETRIED = frozenset({400, 401, 404, 409, 413, 415, 422})
# Where it says nothing: the service, or a proxy in front of it, could not do it just now.
RETRIED = frozenset({429, 500, 502, 503, 504})

# Full jitter: a random wait from a window that doubles, so that callers who failed together do not
# come back together. With Retry-After the wait is added to it, for the same reason.
_FIRST_WINDOW_S = 0.1
_LAST_WINDOW_S = 5.0
# A wait that overslept may leave less than nothing.
_ATTEMPT_LEAST_S = 0.01

_log = logging.getLogger("orderapi.client")


class Retries:
    """Makes attempts until one has the result, is refused, or the deadline would pass.

    `deadline_s` is for a whole call, waits included, `attempt_s` for one attempt; at most half of
    the deadline, so that one hanging attempt leaves time for another. With `waits` off a wait
    counts against the deadline as if it had been slept, and takes no time.
    """

    def __init__(
        self, exchange: Exchange, *, deadline_s: float, attempt_s: float, waits: bool
    ) -> None:
        if not (0 < deadline_s < math.inf and 0 < attempt_s < math.inf):
            raise ValueError("deadline_s and attempt_s: expected seconds, more than 0")
        self._exchange = exchange
        self._deadline_s = deadline_s
        self._attempt_s = min(attempt_s, deadline_s / 2)
        self._waits = waits

    def call(self, request: Request, read: Callable[[Answer], T], held_s: float = 0.0) -> T:
        """Send a request until it has its result, which `read` takes from a 2xx answer.

        `read` raises AnswerLost if the answer is not whole. `held_s` is how long the service was
        asked to hold back its answer: it is added to both limits.

        Raises DeadlineExceeded or Refused.
        """
        deadline = _Deadline(self._deadline_s + held_s, waits=self._waits)

        def attempt() -> T:
            timeout_s = min(self._attempt_s + held_s, deadline.remaining_s())
            answer = self._exchange.send(request, max(timeout_s, _ATTEMPT_LEAST_S))
            if not 200 <= answer.status < 300:
                raise self._failure(request, answer)
            return read(answer)

        def give_up(state: tenacity.RetryCallState) -> NoReturn:
            last = _last(state)
            raise DeadlineExceeded(
                deadline.seconds, state.attempt_number, request.key, last
            ) from last

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((AnswerLost, Unavailable)),
            wait=tenacity.wait_random_exponential(multiplier=_FIRST_WINDOW_S, max=_LAST_WINDOW_S)
            + tenacity.wait_exception(_retry_after_s),
            stop=lambda state: state.upcoming_sleep >= deadline.remaining_s(),
            sleep=deadline.wait,
            before_sleep=_log_wait,
            retry_error_callback=give_up,
        )
        return retrying(attempt)

    def _failure(self, request: Request, answer: Answer) -> Unavailable | Refused:
        problem = self._exchange.problem(answer)
        retryable = problem.get("retryable")
        if not isinstance(retryable, bool):
            retryable = answer.status in RETRIED
        # A new key could make a second order: whoever has to rotate it is the caller.
        is_same_key = problem.get("key_action") != "rotate"
        if retryable and is_same_key and answer.status not in NEVER_RETRIED:
            retry_after_s = seconds_until(answer.headers.get("retry-after", ""))
            return Unavailable(answer.status, problem, request.key, retry_after_s)
        return refusal(answer.status, problem, request.key)


class _Deadline:
    """A span that began with the call; skipped waits count as if they had been slept."""

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


def seconds_until(retry_after: str) -> float:
    """Read a `Retry-After` header (RFC 9110 section 10.2.3): seconds from now, 0 if it is none."""
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone is in UTC, whatever zone this machine is in.
        aware = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
        moment = aware.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())


def _last(state: tenacity.RetryCallState) -> AnswerLost | Unavailable:
    """Give the failure that is about to be retried, or given up after."""
    outcome = cast("tenacity.Future", state.outcome)
    return cast("AnswerLost | Unavailable", outcome.exception())


def _retry_after_s(failure: BaseException) -> float:
    return failure.retry_after_s if isinstance(failure, Unavailable) else 0.0


def _log_wait(state: tenacity.RetryCallState) -> None:
    _log.info(
        "attempt %d failed (%s); the next in %.3f s",
        state.attempt_number,
        _last(state),
        state.upcoming_sleep,
    )
