"""The page that the console shows after a failure. It has the reason, and says what to do."""

import logging

from flask import Flask, render_template
from werkzeug.exceptions import HTTPException

from orderapi.errors import StoreFailure, StoreUnavailable, one_line

_log = logging.getLogger(__name__)

_WHAT_TO_DO = {
    StoreFailure.TEMPORARY: "Reload this page when the reason is gone.",
    StoreFailure.FOREIGN: "Start the console with the URL of a database of this release.",
    StoreFailure.DAMAGED: "Run `orderapi audit` to list the damage, then restore a backup.",
}
_REFUSALS = {
    401: (
        "This browser has no access",
        "The link with a secret works once, in one browser. Open the newest link that the terminal"
        " of `orderapi console` shows. If you have already opened one in this browser, and followed"
        " a link from another site to this page, continue with the button.",
    ),
    403: (
        "This request was refused",
        "It was sent by a page of another site. Open the console by its own address.",
    ),
    404: (
        "There is no such page",
        "Nothing of this name is stored. Search for another id.",
    ),
    405: ("This request was refused", "The console only reads, so it answers only GET."),
    421: (
        "This request was refused",
        "It was not sent to 127.0.0.1 or localhost. Open the console by that address.",
    ),
}


def register(app: Flask) -> None:
    """Answer every failure of `app` with a page."""
    app.register_error_handler(StoreUnavailable, _from_unavailable_store)
    app.register_error_handler(HTTPException, _from_refusal)
    app.register_error_handler(Exception, _from_unexpected_error)


def _from_unavailable_store(error: StoreUnavailable) -> tuple[str, int]:
    return _page(
        503,
        "The database cannot be read",
        f"{one_line(error.reason)}.",
        _WHAT_TO_DO[error.kind],
    )


def _from_refusal(error: HTTPException) -> tuple[str, int]:
    status = error.code or 500
    title, what_to_do = _REFUSALS.get(status, ("This request was refused", str(error.name)))
    return _page(status, title, "", what_to_do)


def _from_unexpected_error(error: Exception) -> tuple[str, int]:
    # The message of the exception may contain a key or a customer, so only its type is shown.
    name = type(error).__name__
    _log.error("a page of the console failed", extra={"exception": name, "at": _line_of(error)})
    return _page(
        500,
        "The console failed",
        f"A page could not be made because of an error of the console itself ({name}).",
        "The service is not affected. Report this error with the version of the console.",
    )


def _line_of(error: Exception) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"


def _page(status: int, title: str, reason: str, what_to_do: str) -> tuple[str, int]:
    return (
        render_template(
            "failure.html", status=status, title=title, reason=reason, what_to_do=what_to_do
        ),
        status,
    )
