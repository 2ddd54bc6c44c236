"""The resources `/openapi.json` and `/docs`: the document, and the page that shows it."""

from collections.abc import Callable
from functools import cache

from flask import Blueprint, request
from werkzeug.exceptions import NotFound

from orderapi.web import response_headers
from orderapi.web.openapi.files import FILES, Content, content, read_file, read_page
from orderapi.web.whole_response import WholeResponse

# A client asks the service before it uses its copy, so it uses no copy of an older release.
_CACHE = ("Cache-Control", "no-cache")
# The directives that the page needs. The pictures of Swagger UI are in its style sheet, as data.
_ALLOWED = ("script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'")


def blueprint(write_document: Callable[[], str]) -> Blueprint:
    """Return the resources. `write_document` is called when a client first needs the document."""
    openapi = Blueprint("openapi", __name__)

    @cache
    def document() -> Content:
        return content(write_document().encode(), "application/json")

    @openapi.get("/openapi.json")
    def show_document() -> WholeResponse:
        return _answer(document())

    @openapi.get("/docs")
    def show_page() -> WholeResponse:
        page = _answer(read_page())
        page.headers += response_headers.of_page(*_ALLOWED)
        return page

    @openapi.get("/docs/<name>")
    def send_file(name: str) -> WholeResponse:
        if name not in FILES:
            raise NotFound
        return _answer(read_file(name))

    return openapi


def _answer(found: Content) -> WholeResponse:
    """Answer with the content, or with 304 if the client has it (RFC 9110 section 13.1.2)."""
    if request.if_none_match.contains_weak(found.etag.strip('"')):
        response = WholeResponse(status=304, media_type=None, cache=_CACHE)
    else:
        response = WholeResponse(found.body, media_type=found.media_type, cache=_CACHE)
    response.add_header("ETag", found.etag)
    return response
