"""Every failure by its name. The table in `web/problems.py` says how HTTP answers each of them."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Self


class OrderApiError(Exception):
    """A refusal or a failure of this service. The message may be shown to its client."""


class BodyUnreadable(OrderApiError):
    """The request's body was cut short, or its framing is broken."""


class BodyTooLarge(OrderApiError):
    """The request's body is longer than the limit."""


class NotJson(OrderApiError):
    """The request's content type or encoding is not plain `application/json`."""


class KeyMissing(OrderApiError):
    """There is no idempotency key."""


class KeyInvalid(OrderApiError):
    """The idempotency key is in neither of the two valid forms."""


class MalformedJson(OrderApiError):
    """The body is not JSON (RFC 8259), or it is nested too deep."""


class ValidationFailed(OrderApiError):
    """The input is readable, but this resource does not accept it.

    `errors` gives the messages by field or query parameter.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__("The request is not valid; 'errors' says what to change.")
        self.errors = errors


class KeyReused(OrderApiError):
    """The idempotency key belongs to another payload."""


class OrderNotFound(OrderApiError):
    """This client has no such order."""


class ProblemNotFound(OrderApiError):
    """There is no problem type with this slug."""


class SimulatedFailure(OrderApiError):
    """The failure after the commit that the request asked for (fault injection)."""


class TooManyWaiting(OrderApiError):
    """Too many requests of this client, or of all clients, wait for events in this process."""

    def __init__(self) -> None:
        super().__init__(
            "Too many requests wait for events. Wait as long as Retry-After says, or send the "
            "request without 'wait'."
        )


class Unauthorized(OrderApiError):
    """The request has no token that is valid now.

    The message is the same for every reason, so that it does not tell whether a token ever existed.
    `is_token_sent` tells whether the request had an `Authorization` header.
    """

    def __init__(self, *, is_token_sent: bool = True) -> None:
        super().__init__("This path needs a valid bearer token.")
        self.is_token_sent = is_token_sent


class ScopeMissing(OrderApiError):
    """The token is valid, but it does not have the scope that the request needs."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"This request needs a token with the scope '{scope}'.")
        self.scope = scope


class TokenRefused(OrderApiError):
    """A token cannot be created or revoked as asked; the message is for its operator."""


class StoreFailure(Enum):
    """The kinds of failure of a store. Callers test the kind, and never the words of the reason."""

    # A later attempt may succeed: the store is locked, full, hanging, missing or closing.
    TEMPORARY = "temporary"
    # The file is not a database, or it is a database that does not contain our tables.
    FOREIGN = "foreign"
    # The engine found damage in its own files.
    DAMAGED = "damaged"


class StoreUnavailable(OrderApiError):
    """The store cannot do this now.

    This failure does not say whether a write has happened. `reason` is a sentence for the log. It
    must not be sent to clients. `kind` is what callers test.
    """

    def __init__(self, reason: str, kind: StoreFailure = StoreFailure.TEMPORARY) -> None:
        super().__init__("The store cannot be used right now; send the same request again.")
        self.reason = reason
        self.kind = kind

    def copy(self) -> Self:
        """Return the same failure for one more caller. A traceback belongs to one caller."""
        return type(self)(self.reason, self.kind)


class StoreCorrupt(StoreUnavailable):
    """The files of the store cannot be read as a database of ours: a retry will fail again."""

    def __init__(self, reason: str, kind: StoreFailure = StoreFailure.DAMAGED) -> None:
        super().__init__(reason, kind)


def one_line(text: str) -> str:
    """Return a text as one printable line.

    Line breaks and other control characters are escaped, and so are bytes that are no text.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class OperatorError(OrderApiError):
    """A failure whose message is one line for an operator. It may contain a path."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class StartRefused(OperatorError):
    """The process cannot start."""


class SettingsInvalid(StartRefused):
    """An environment variable is unknown or has a bad value.

    `name` is the variable, and `problem` says in a few words what is wrong with it.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class StoreRefused(StartRefused):
    """This release cannot serve the database."""


class FileRefused(OperatorError):
    """A backup or a restore must not write a file, or cannot use it."""
