"""Checks who sends each request, and adds the headers for security to each answer."""

from flask import Flask, Response, make_response, render_template, request
from werkzeug.exceptions import Forbidden, MisdirectedRequest, Unauthorized

from orderapi.console.access import ENTRY_PATH, Access, cookie_name, is_own_host, is_own_origin

_HEADERS = {
    # A page loads only files of the console. It has no inline script or style, and cannot be shown
    # inside another page.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ENTRY, _STATIC = "enter", "static"


def register(app: Flask, access: Access) -> None:
    """Show the pages of `app` only to browsers that have a cookie of `access`."""

    @app.before_request
    def refuse_strangers() -> None:
        if not is_own_host(request.host):
            raise MisdirectedRequest
        if not is_own_origin(request.headers.get("Origin"), request.host):
            raise Forbidden
        if request.endpoint in (_ENTRY, _STATIC):
            return
        if not access.is_known(request.cookies.get(cookie_name(request.host), "")):
            raise Unauthorized

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        if request.endpoint != _STATIC:
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.get(ENTRY_PATH, endpoint=_ENTRY)
    def enter() -> Response:
        session = access.enter(request.args.get("secret", ""))
        if session is None:
            raise Unauthorized
        # The answer is a page with a link, and not a redirect. After a redirect, a browser that
        # came from another site would not send the SameSite=Strict cookie.
        response = make_response(render_template("entered.html"))
        response.set_cookie(cookie_name(request.host), session, httponly=True, samesite="Strict")
        return response
