"""Failures as HTTP sees them: the one table of problem types, and the handlers that use it.

Problem documents are RFC 9457 `application/problem+json`.
"""

import logging
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from orderapi import errors, logs
from orderapi.documents import dump
from orderapi.web.lean import Answer

RETRY_AFTER_S = 2

_log = logging.getLogger(__name__)

blueprint = Blueprint("problems", __name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem type.

    `retryable`: the same request may succeed later. `key_action`: what to do with the idempotency
    key then: `reuse`, `rotate` or `none`.
    """

    slug: str
    status: int
    title: str
    retryable: bool
    key_action: str
    meaning: str
    remedy: str


PROBLEMS = (
    Problem("bad-request", 400, "Bad request", False, "reuse",
            "The request could not be read whole: its body was cut short, its framing is broken, "
            "or a line of its head is too long.",
            "Nothing was executed. Send the whole request, with the same key."),
    Problem("idempotency-key-missing", 400, "Idempotency-Key missing", False, "none",
            "An order needs an Idempotency-Key header, or a retry could order twice.",
            "Make a key (a UUID, say), save it with the order, and send it on every attempt."),
    Problem("idempotency-key-invalid", 400, "Idempotency-Key invalid", False, "none",
            "The key is 1 to 255 printable ASCII characters, bare (no space, comma or quote) or as "
            "one quoted string, in exactly one header.",
            "Make a key of that form and send it on every attempt."),
    Problem("malformed-json", 400, "Malformed JSON", False, "reuse",
            "The body is not JSON (RFC 8259) in UTF-8, or is nested too deep.",
            "Mend the body and send it with the same key."),
    Problem("unauthorized", 401, "Unauthorized", False, "none",
            "The request has no valid bearer token.",
            "Send 'Authorization: Bearer <token>' with a token that has not been revoked."),
    Problem("not-found", 404, "Not found", False, "none",
            "There is nothing at this path, or nothing that belongs to this client.",
            "Check the path and the id."),
    Problem("method-not-allowed", 405, "Method not allowed", False, "none",
            "This resource does not take that method.",
            "Use one of the methods in the Allow header."),
    Problem("idempotency-key-reused", 409, "Idempotency-Key reused", False, "rotate",
            "This key belongs to another payload. Nothing was changed.",
            "If this is a new order, make a new key. If it is a retry, send the first payload."),
    Problem("body-too-large", 413, "Body too large", False, "reuse",
            "The body is longer than 16 KiB.",
            "Send a shorter body, with the same key."),
    Problem("unsupported-media-type", 415, "Unsupported media type", False, "reuse",
            "The body must be 'Content-Type: application/json' in UTF-8, without Content-Encoding.",
            "Send it so, with the same key."),
    Problem("validation-failed", 422, "Validation failed", False, "reuse",
            "The input is readable, but not valid; 'errors' says what is wrong, by name.",
            "Mend what 'errors' names and send the request with the same key."),
    Problem("rate-limited", 429, "Too many requests", True, "reuse",
            "This address has sent too many requests.",
            "Wait as long as Retry-After says, then send the same request with the same key."),
    Problem("simulated-failure", 500, "Simulated failure", True, "reuse",
            "The request asked for a failure after its commit. The order exists.",
            "Send the same request with the same key, without X-Debug-Fail-After-Commit."),
    Problem("internal-error", 500, "Internal error", True, "reuse",
            "Something failed that should not. The order may have been made, whole, or not at all.",
            "Send the same request with the same key; it gives that order or makes it."),
    Problem("bad-gateway", 502, "Bad gateway", True, "reuse",
            "The service did not answer the proxy. The order may have been made, whole.",
            "Send the same request with the same key; it gives that order or makes it."),
    Problem("store-unavailable", 503, "Store unavailable", True, "reuse",
            "The store cannot be used right now. The order may have been made, whole.",
            "Wait as long as Retry-After says, then send the same request with the same key."),
    Problem("gateway-timeout", 504, "Gateway time-out", True, "reuse",
            "The service did not answer the proxy in time. The order may have been made, whole.",
            "Send the same request with the same key; it gives that order or makes it."),
)  # fmt: skip

BY_SLUG = {problem.slug: problem for problem in PROBLEMS}

_SLUGS: dict[type[errors.OrderApiError], str] = {
    errors.BodyUnreadable: "bad-request",
    errors.KeyMissing: "idempotency-key-missing",
    errors.KeyInvalid: "idempotency-key-invalid",
    errors.MalformedJson: "malformed-json",
    errors.OrderNotFound: "not-found",
    errors.ProblemNotFound: "not-found",
    errors.KeyReused: "idempotency-key-reused",
    errors.BodyTooLarge: "body-too-large",
    errors.NotJson: "unsupported-media-type",
    errors.SimulatedFailure: "simulated-failure",
}
_SLUGS_OF_STATUS = {404: "not-found", 405: "method-not-allowed"}


def register(app: Flask) -> None:
    """Let every failure of `app` end in a problem document."""
    app.register_blueprint(blueprint)
    app.register_error_handler(errors.OrderApiError, _from_our_error)
    app.register_error_handler(errors.ValidationFailed, _from_invalid_input)
    app.register_error_handler(errors.StoreUnavailable, _from_unavailable_store)
    app.register_error_handler(HTTPException, _from_http_exception)
    app.register_error_handler(Exception, _from_surprise)


@blueprint.get("/problems/<slug>")
def show_problem(slug: str) -> Response:
    """Explain a problem type: a page for people, JSON for programs."""
    problem = BY_SLUG.get(slug)
    if problem is None:
        raise errors.ProblemNotFound("There is no problem type of that name.")
    accepted = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if accepted == "text/html":
        page = Answer(
            render_template("problem.html", problem=problem), media_type="text/html; charset=utf-8"
        )
        page.vary.add("Accept")
        return page
    document = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "meaning": problem.meaning,
        "what_to_do": problem.remedy,
        "retryable": problem.retryable,
        "key_action": problem.key_action,
    }
    response = Answer(dump(document))
    response.vary.add("Accept")
    return response


def _from_our_error(error: errors.OrderApiError) -> Response:
    slug = _SLUGS.get(type(error))
    return _respond(BY_SLUG[slug], str(error)) if slug else _from_surprise(error)


def _from_invalid_input(error: errors.ValidationFailed) -> Response:
    return _respond(BY_SLUG["validation-failed"], str(error), errors=_readable(error))


def _from_unavailable_store(error: errors.StoreUnavailable) -> Response:
    _log.warning("store unavailable", extra={"reason": error.reason})
    response = _respond(BY_SLUG["store-unavailable"], str(error))
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _readable(error: errors.ValidationFailed) -> dict[str, object]:
    """Give the messages by names that every JSON parser reads: lone surrogates become `?`."""
    return {
        name.encode(errors="replace").decode(): messages for name, messages in error.errors.items()
    }


def _from_http_exception(error: HTTPException) -> Response:
    """Turn what Flask and Werkzeug refuse into one of our problems, keeping `Allow`."""
    status = error.code or 500
    slug = _SLUGS_OF_STATUS.get(status, "bad-request" if status < 500 else "internal-error")
    response = _respond(BY_SLUG[slug], BY_SLUG[slug].meaning)
    allow = error.get_response().headers.get("Allow")
    if allow:
        response.headers["Allow"] = allow
    return response


def _from_surprise(error: Exception) -> Response:
    _log.error("unexpected failure", exc_info=error)
    return _respond(BY_SLUG["internal-error"], BY_SLUG["internal-error"].meaning)


def _respond(problem: Problem, detail: str, **members: Any) -> Response:
    document = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "request_id": logs.request_id.get(),
        "retryable": problem.retryable,
        "key_action": problem.key_action,
        **members,
    }
    return Answer(dump(document), problem.status, "application/problem+json")
