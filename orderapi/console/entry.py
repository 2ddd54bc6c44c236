"""What every request must pass, and the headers that every answer has."""

from flask import Flask, Response, make_response, render_template, request
from werkzeug.exceptions import Forbidden, MisdirectedRequest, Unauthorized

from orderapi.console.access import ENTRY_PATH, Access, cookie_name, is_own_host, is_own_origin

_HEADERS = {
    # Nothing but our own files is loaded, no script or style is inline, and no page is framed.
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
    """Let nobody reach the pages of `app` but browsers that have the cookie of `access`."""

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
        # A page that leads on, and no redirect: a browser that comes from another site would not
        # send a SameSite=Strict cookie with the request after a redirect.
        response = make_response(render_template("entered.html"))
        response.set_cookie(cookie_name(request.host), session, httponly=True, samesite="Strict")
        return response
