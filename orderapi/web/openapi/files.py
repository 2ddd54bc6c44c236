"""The files of the page `/docs`: our own, and those of Swagger UI, which comes in a package."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_OURS = files("orderapi.web.openapi") / "static"
_SWAGGER_UI = files("flask_swagger_ui") / "dist"
_CSS, _JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"

# Each file with its folder and its type. The service sends no other file.
FILES = {
    "swagger-ui.css": (_SWAGGER_UI, _CSS),
    "swagger-ui-bundle.js": (_SWAGGER_UI, _JAVASCRIPT),
    "docs.css": (_OURS, _CSS),
    "docs.js": (_OURS, _JAVASCRIPT),
}
PAGE = "docs.html"


class Content(NamedTuple):
    """What is sent: the bytes, their media type, and the strong ETag that names this version."""

    body: bytes
    media_type: str
    etag: str


def content(body: bytes, media_type: str) -> Content:
    """Return bytes with the ETag that belongs to them."""
    return Content(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@cache
def read_page() -> Content:
    """Read the page itself."""
    return content((_OURS / PAGE).read_bytes(), "text/html; charset=utf-8")


@cache
def read_file(name: str) -> Content:
    """Read a file of FILES. Each process keeps what it has read, 2 MB for all of the files.

    Raises KeyError if FILES has no such name.
    """
    folder, media_type = FILES[name]
    return content((folder / name).read_bytes(), media_type)
