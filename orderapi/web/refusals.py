"""The answers that the server gives without Flask: to a malformed request, or when the app fails.

Clients and operators see no difference from an answer of the app. It is a problem document with a
request id, and the request has one line in the log.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING

from orderapi import logs
from orderapi.telemetry import Telemetry
from orderapi.web import problems, this_request
from orderapi.web.response_headers import NO_SNIFFING, NOT_STORED

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The status line, the headers and the body.
Refusal = tuple[str, list[tuple[str, str]], bytes]


def refuse_request(
    telemetry: Telemetry, reason: str, sent_request_id: str, address: str
) -> Refusal:
    """Return the answer `bad-request` to a request that is not HTTP or that exceeds a limit.

    `reason` is a sentence for the client. `sent_request_id` is the X-Request-ID that the client
    sent, or an empty string. `address` is the address of the client, for the log.
    """
    telemetry.count_request(None, "", problems.BY_SLUG["bad-request"].status, 0.0)
    return _refuse("bad-request", reason, sent_request_id, {"address": address, "reason": reason})


def refuse_after_failure(telemetry: Telemetry, environ: "WSGIEnvironment") -> Refusal:
    """Return the answer `internal-error` to a request for which the app gave no valid answer."""
    problem = problems.BY_SLUG["internal-error"]
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    telemetry.count_request(None, method, problem.status, 0.0)
    sent_request_id = environ.get("HTTP_X_REQUEST_ID", "")
    noted = {"method": method, "path": path[: this_request.PATH_MAX_CHARS]}
    return _refuse("internal-error", problem.meaning, sent_request_id, noted)


def _refuse(slug: str, detail: str, sent_request_id: str, noted: dict[str, str]) -> Refusal:
    status = problems.BY_SLUG[slug].status
    request_id = this_request.choose_id(sent_request_id)
    body = problems.document(slug, detail, request_id)
    logs.log_request({**noted, "status": status}, request_id)
    headers = [
        ("Content-Type", problems.MEDIA_TYPE),
        (this_request.HEADER, request_id),
        NO_SNIFFING,
        NOT_STORED,
    ]
    return f"{status} {HTTPStatus(status).phrase.upper()}", headers, body
