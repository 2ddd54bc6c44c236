"""Turns an exception inside Flask into a problem document, with a handler for each kind.

The table in `orderapi/web/problems.py` says which problem answers which error.
"""

import logging
from functools import partial
from http import HTTPStatus

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from orderapi import errors, logs
from orderapi.telemetry import Telemetry
from orderapi.web import problems
from orderapi.web.problems import BY_SLUG, RETRY_AFTER_S, problem_of, problem_of_status
from orderapi.web.whole_response import WholeResponse

_log = logging.getLogger(__name__)


def register(app: Flask, telemetry: Telemetry) -> None:
    """Answer every failure of `app` with a problem document."""
    app.register_error_handler(errors.OrderApiError, _from_our_error)
    app.register_error_handler(errors.ValidationFailed, _from_invalid_input)
    app.register_error_handler(errors.StoreUnavailable, partial(_from_unavailable_store, telemetry))
    app.register_error_handler(errors.KeyReused, partial(_from_conflict, telemetry))
    app.register_error_handler(errors.Unauthorized, partial(_from_unauthorized, telemetry))
    app.register_error_handler(errors.ScopeMissing, partial(_from_missing_scope, telemetry))
    app.register_error_handler(errors.TooManyWaiting, _from_too_many_waiting)
    app.register_error_handler(HTTPException, _from_http_exception)
    app.register_error_handler(Exception, _from_unexpected)


def _from_our_error(error: errors.OrderApiError) -> WholeResponse:
    slug = problem_of(error).slug
    return _from_unexpected(error) if slug == "internal-error" else _respond(slug, str(error))


def _from_invalid_input(error: errors.ValidationFailed) -> WholeResponse:
    return _respond("validation-failed", str(error), errors=_readable(error))


def _from_conflict(telemetry: Telemetry, error: errors.KeyReused) -> WholeResponse:
    telemetry.count_conflict()
    return _from_our_error(error)


def _from_unavailable_store(telemetry: Telemetry, error: errors.StoreUnavailable) -> WholeResponse:
    telemetry.count_store_error(error.kind.value)
    _log.warning(
        "the store is unavailable; the request was answered with 503",
        extra={"reason": error.reason},
    )
    response = _respond("store-unavailable", str(error))
    response.add_header("Retry-After", str(RETRY_AFTER_S))
    return response


def _from_unauthorized(telemetry: Telemetry, error: errors.Unauthorized) -> WholeResponse:
    """Answer with 401. The reason is named only if a token was sent (RFC 6750 section 3)."""
    telemetry.count_refused_token("unauthorized")
    response = _respond("unauthorized", str(error))
    reason = ', error="invalid_token"' if error.is_token_sent else ""
    response.add_header("WWW-Authenticate", f'Bearer realm="orderapi"{reason}')
    return response


def _from_missing_scope(telemetry: Telemetry, error: errors.ScopeMissing) -> WholeResponse:
    """Answer with 403, and name the required scope (RFC 6750 section 3.1)."""
    telemetry.count_refused_token("insufficient-scope")
    response = _respond("insufficient-scope", str(error))
    response.add_header(
        "WWW-Authenticate",
        f'Bearer realm="orderapi", error="insufficient_scope", scope="{error.scope}"',
    )
    return response


def _from_too_many_waiting(error: errors.TooManyWaiting) -> WholeResponse:
    response = _from_our_error(error)
    response.add_header("Retry-After", str(RETRY_AFTER_S))
    return response


def _readable(error: errors.ValidationFailed) -> dict[str, object]:
    """Return the messages by field. A lone surrogate in a name becomes `?`, so JSON can have it."""
    return {
        name.encode(errors="replace").decode(): messages for name, messages in error.errors.items()
    }


def _from_http_exception(error: HTTPException) -> WholeResponse:
    """Answer a refusal of Flask or Werkzeug with a problem document, and keep its `Allow`."""
    problem = problem_of_status(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    response = _respond(problem.slug, problem.meaning)
    if isinstance(error, MethodNotAllowed):
        response.add_header("Allow", ", ".join(sorted(error.valid_methods or ())))
    return response


def _from_unexpected(error: Exception) -> WholeResponse:
    _log.error("unexpected exception; the request was answered with 500", exc_info=error)
    return _respond("internal-error", BY_SLUG["internal-error"].meaning)


def _respond(slug: str, detail: str, **members: object) -> WholeResponse:
    body = problems.document(slug, detail, logs.request_id.get(), **members)
    return WholeResponse(body, BY_SLUG[slug].status, problems.MEDIA_TYPE)
