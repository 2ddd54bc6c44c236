"""The one table from errors to HTTP: the problem types, and how a problem document is written.

This module does not use Flask. Therefore the HTTP server can refuse a malformed request with the
same document.
"""

from dataclasses import dataclass
from http import HTTPStatus

from orderapi import errors
from orderapi.documents import dump

RETRY_AFTER_S = 2
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem type, one row of the table.

    `retryable` says whether the same request may succeed later. `key_action` says what to do with
    the idempotency key then: `reuse`, `rotate` (use a new key) or `none`. `raised_as` lists the
    errors of this program that are answered with this problem. `meaning` and `remedy` are sentences
    for the developer of a client.
    """

    slug: str
    status: int
    title: str
    retryable: bool
    key_action: str
    raised_as: tuple[type[errors.OrderApiError], ...]
    meaning: str
    remedy: str


PROBLEMS = (
    Problem("bad-request", 400, "Bad request", False, "reuse",
            (errors.BodyUnreadable,),
            "The request could not be read completely: its body was cut short, its framing is "
            "broken, or its head is malformed or too long.",
            "Nothing was executed. Send the complete request with the same key."),
    Problem("idempotency-key-missing", 400, "Idempotency-Key missing", False, "none",
            (errors.KeyMissing,),
            "A request that makes an order needs an Idempotency-Key header. Without a key, a retry "
            "could order twice.",
            "Make a new key (for example a UUID), save it with the order, and send it with every "
            "attempt."),
    Problem("idempotency-key-invalid", 400, "Idempotency-Key invalid", False, "none",
            (errors.KeyInvalid,),
            "A key has 1 to 255 printable ASCII characters. It is sent in exactly one header, "
            "either bare (without space, comma or quote) or as one quoted string.",
            "Make a key of this form, and send it with every attempt."),
    Problem("malformed-json", 400, "Malformed JSON", False, "reuse",
            (errors.MalformedJson,),
            "The body is not JSON (RFC 8259) in UTF-8, or it is nested too deep.",
            "Correct the body, and send the request with the same key."),
    Problem("unauthorized", 401, "Unauthorized", False, "none",
            (errors.Unauthorized,),
            "The request has no valid bearer token.",
            "Send 'Authorization: Bearer <token>' with a token that is valid."),
    Problem("insufficient-scope", 403, "Insufficient scope", False, "none",
            (errors.ScopeMissing,),
            "The token is valid, but it does not have the scope that this request needs.",
            "Use a token with the scope that the WWW-Authenticate header names: 'read' for GET, "
            "'write' for POST."),
    Problem("not-found", 404, "Not found", False, "none",
            (errors.OrderNotFound, errors.ProblemNotFound),
            "There is nothing at this path, or nothing that belongs to this client.",
            "Check the path and the id."),
    Problem("method-not-allowed", 405, "Method not allowed", False, "none",
            (),
            "This resource does not support the method of the request.",
            "Use one of the methods in the Allow header."),
    Problem("idempotency-key-reused", 409, "Idempotency-Key reused", False, "rotate",
            (errors.KeyReused,),
            "This key belongs to another payload. Nothing was changed.",
            "If this is a new order, make a new key. If this is a retry, send the first payload."),
    Problem("body-too-large", 413, "Body too large", False, "reuse",
            (errors.BodyTooLarge,),
            "The body is longer than 16 KiB.",
            "Send a shorter body with the same key."),
    Problem("unsupported-media-type", 415, "Unsupported media type", False, "reuse",
            (errors.NotJson,),
            "The body must have 'Content-Type: application/json', be in UTF-8, and have no "
            "Content-Encoding.",
            "Send the body in this form, with the same key."),
    Problem("validation-failed", 422, "Validation failed", False, "reuse",
            (errors.ValidationFailed,),
            "The request can be read, but it is not valid. The member 'errors' says by name what "
            "is wrong.",
            "Correct what 'errors' names, and send the request with the same key."),
    Problem("rate-limited", 429, "Too many requests", True, "reuse",
            (errors.TooManyWaiting,),
            "Too many requests came from this address, or too many requests wait for events.",
            "Wait as long as Retry-After says, then send the same request with the same key."),
    Problem("simulated-failure", 500, "Simulated failure", True, "reuse",
            (errors.SimulatedFailure,),
            "The request asked for a failure after its commit. The order exists.",
            "Send the same request with the same key, without X-Debug-Fail-After-Commit."),
    Problem("internal-error", 500, "Internal error", True, "reuse",
            (),
            "An unexpected error occurred in the service. A new order was made completely or not "
            "at all.",
            "Send the same request with the same key. The answer is that order, or a new one if it "
            "was not made."),
    Problem("bad-gateway", 502, "Bad gateway", True, "reuse",
            (),
            "The proxy got no answer from the service. A new order was made completely or not at "
            "all.",
            "Send the same request with the same key. The answer is that order, or a new one if it "
            "was not made."),
    Problem("store-unavailable", 503, "Store unavailable", True, "reuse",
            (errors.StoreUnavailable,),
            "The store cannot be used now. A new order was made completely or not at all.",
            "Wait as long as Retry-After says, then send the same request with the same key."),
    Problem("gateway-timeout", 504, "Gateway time-out", True, "reuse",
            (),
            "The proxy got no answer from the service in time. A new order was made completely or "
            "not at all.",
            "Send the same request with the same key. The answer is that order, or a new one if it "
            "was not made."),
)  # fmt: skip

BY_SLUG = {problem.slug: problem for problem in PROBLEMS}
_BY_ERROR = {error: problem for problem in PROBLEMS for error in problem.raised_as}
# Flask and Werkzeug raise only these two statuses on purpose.
_BY_STATUS = {404: BY_SLUG["not-found"], 405: BY_SLUG["method-not-allowed"]}


def problem_of(error: errors.OrderApiError) -> Problem:
    """Return the problem whose row lists the type of an error, or the nearest type above it.

    If there is none, the problem is `internal-error`.
    """
    rows = (_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)
    return next(rows, BY_SLUG["internal-error"])


def problem_of_status(status: int) -> Problem:
    """Return the problem that answers a refusal of Flask or Werkzeug with this HTTP status."""
    other = "bad-request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal-error"
    return _BY_STATUS.get(status, BY_SLUG[other])


def document(slug: str, detail: str, request_id: str | None, **members: object) -> bytes:
    """Return the problem document (RFC 9457) of one failed request.

    `slug` names a row of PROBLEMS. `detail` says what was wrong with this request. `request_id` is
    the value of the answer's `X-Request-ID`. `members` are added to the document. The answer has
    the media type MEDIA_TYPE and the status `BY_SLUG[slug].status`.

    Raises KeyError if no problem type has this slug.
    """
    problem = BY_SLUG[slug]
    members_of_all = {
        "type": f"/problems/{slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "request_id": request_id,
        "retryable": problem.retryable,
        "key_action": problem.key_action,
    }
    return dump(members_of_all | members).encode()
