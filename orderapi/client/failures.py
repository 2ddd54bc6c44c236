"""Every way in which a call can end without its result.

    OrderClientError
        DeadlineExceeded        the service may have done it: go on with the same key
        Refused                 the service, or what stands in front of it, has said no
            Unauthorized, NotFound, KeyReused, ValidationFailed
        AnswerLost, Unavailable one attempt's failure: retried; the last is `DeadlineExceeded.last`

All of them can be pickled, and none holds the token.
"""

from collections.abc import Mapping
from typing import Any


class OrderClientError(Exception):
    """A call ended without its result.

    `key` is the idempotency key of a `create`, else None. `problem` is the problem document of
    the last answer (RFC 9457), empty if it had none.
    """

    key: str | None = None
    problem: Mapping[str, Any] = {}

    @property
    def key_action(self) -> str:
        """What to do with the key: `reuse`, `rotate` or `none`.

        Without the service's word it is `reuse`: an order may exist under the key.
        """
        said = self.problem.get("key_action")
        return said if isinstance(said, str) else "reuse"


class AnswerLost(OrderClientError):
    """No whole answer came back: the request may have been executed, or not."""


class ProblemAnswered(OrderClientError):
    """An answer that is not the result: its status, its problem document, and the call's key."""

    def __init__(
        self, status: int, problem: Mapping[str, Any], key: str | None, retry_after_s: float
    ) -> None:
        super().__init__(status, problem, key, retry_after_s)
        self.status = status
        self.problem = problem
        self.key = key
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        said = self.problem.get("detail") or self.problem.get("title") or "no problem document"
        return f"{self.status}: {said}"


class Unavailable(ProblemAnswered):
    """The same request may succeed later, not before `retry_after_s` seconds from the answer."""


class Refused(ProblemAnswered):
    """The same request would be refused again.

    An earlier attempt of the same call, whose answer was lost, may have been executed all the same.
    """


class Unauthorized(Refused):
    """401: the token is missing, wrong or revoked."""


class NotFound(Refused):
    """404: there is no such order, or it belongs to another client."""


class KeyReused(Refused):
    """409: the key belongs to another payload."""


class ValidationFailed(Refused):
    """422: the input is not valid."""

    @property
    def errors(self) -> Mapping[str, Any]:
        """The messages by field or query parameter."""
        said = self.problem.get("errors")
        return said if isinstance(said, Mapping) else {}

    def __str__(self) -> str:
        return f"{super().__str__()} {dict(self.errors)}"


class DeadlineExceeded(OrderClientError):
    """The deadline would pass before the next attempt.

    The order may exist. `create` with the same `key` and payload gives it or makes it, whenever
    that is. `last` is why the last of the `attempts` failed.
    """

    def __init__(
        self, deadline_s: float, attempts: int, key: str | None, last: OrderClientError
    ) -> None:
        super().__init__(deadline_s, attempts, key, last)
        self.deadline_s = deadline_s
        self.attempts = attempts
        self.key = key
        self.last = last
        self.problem = last.problem

    @property
    def retry_after_s(self) -> float:
        """How long the service asked to be left alone, in seconds; 0 if it did not."""
        return self.last.retry_after_s if isinstance(self.last, Unavailable) else 0.0

    def __str__(self) -> str:
        how_to_go_on = f"; go on with key {self.key!r}" if self.key else ""
        return (
            f"no result within {self.deadline_s:g} s, after {self.attempts} attempts; "
            f"the last: {self.last}{how_to_go_on}"
        )


_BY_STATUS: Mapping[int, type[Refused]] = {
    401: Unauthorized,
    404: NotFound,
    409: KeyReused,
    422: ValidationFailed,
}


def refusal(status: int, problem: Mapping[str, Any], key: str | None) -> Refused:
    """Give the exception for an answer that is final."""
    return _BY_STATUS.get(status, Refused)(status, problem, key, 0.0)
