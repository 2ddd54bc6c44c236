"""Every way in which a call can end without its result.

    OrderClientError
        DeadlineExceeded        the order may exist: call again with the same key
        Refused                 the service, or a proxy in front of it, refused the request
            Unauthorized, Forbidden, NotFound, KeyReused, ValidationFailed
        AnswerLost, Unavailable one attempt failed: these are retried, and callers see only the
                                last one, as `DeadlineExceeded.last`

All of them can be pickled. None of them contains the token.
"""

from collections.abc import Mapping
from typing import Any


class OrderClientError(Exception):
    """A call ended without its result.

    `key` is the idempotency key of a `create`, and None for other calls. `problem` is the problem
    document of the last answer (RFC 9457), and empty if that answer had none.
    """

    key: str | None = None
    problem: Mapping[str, Any] = {}

    @property
    def key_action(self) -> str:
        """What to do with the key: `reuse`, `rotate` or `none`.

        It is `reuse` if the service did not say, because an order may exist under the key.
        """
        action = self.problem.get("key_action")
        return action if isinstance(action, str) else "reuse"


class AnswerLost(OrderClientError):
    """No whole answer to this request arrived. The request may have been executed."""


class ProblemAnswered(OrderClientError):
    """The answer was not the result.

    `status` is its HTTP status. `retry_after_s` is how long it asked the client to wait, in
    seconds, and 0 if it did not ask.
    """

    def __init__(
        self, status: int, problem: Mapping[str, Any], key: str | None, retry_after_s: float
    ) -> None:
        super().__init__(status, problem, key, retry_after_s)
        self.status = status
        self.problem = problem
        self.key = key
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        text = self.problem.get("detail") or self.problem.get("title") or "no problem document"
        return f"{self.status}: {text}"


class Unavailable(ProblemAnswered):
    """The same request may succeed later, but not within `retry_after_s` seconds of the answer."""


class Refused(ProblemAnswered):
    """The same request would be refused again.

    An earlier attempt of the same call may have been executed nevertheless, if its answer was lost.
    """


class Unauthorized(Refused):
    """401: the token is missing, unknown, expired or revoked. Another token may be accepted."""


class Forbidden(Refused):
    """403: the token is valid, but its scopes do not allow this call."""


class NotFound(Refused):
    """404: no such order exists, or it belongs to another client."""


class KeyReused(Refused):
    """409: the key belongs to another payload."""


class ValidationFailed(Refused):
    """422: the input is not valid."""

    @property
    def errors(self) -> Mapping[str, Any]:
        """The messages by field or query parameter."""
        errors = self.problem.get("errors")
        return errors if isinstance(errors, Mapping) else {}

    def __str__(self) -> str:
        return f"{super().__str__()} {dict(self.errors)}"


class DeadlineExceeded(OrderClientError):
    """The deadline would pass before the next attempt.

    The order may exist. `create` with the same `key` and payload returns that order or makes it,
    at any later time. `attempts` is the number of attempts, and `last` is the failure of the last
    one.
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
        """How long the service asked the client to wait, in seconds; 0 if it did not ask."""
        return self.last.retry_after_s if isinstance(self.last, Unavailable) else 0.0

    def __str__(self) -> str:
        next_step = f"; call again with key {self.key!r}" if self.key else ""
        return (
            f"no result within {self.deadline_s:g} s, after {self.attempts} attempts; "
            f"the last: {self.last}{next_step}"
        )


_BY_STATUS: Mapping[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: KeyReused,
    422: ValidationFailed,
}


def refusal(status: int, problem: Mapping[str, Any], key: str | None) -> Refused:
    """Return the exception for an answer after which the same request is not sent again."""
    return _BY_STATUS.get(status, Refused)(status, problem, key, 0.0)
