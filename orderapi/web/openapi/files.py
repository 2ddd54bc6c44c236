"""The files of the page `/docs`: those of this package, and those of Swagger UI."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_OURS = files("orderapi.web.openapi") / "static"
_SWAGGER_UI = files("flask_swagger_ui") / "dist"
_CSS, _JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"

# The files with their folders and types. The service sends no other files.
FILES = {
    "swagger-ui.css": (_SWAGGER_UI, _CSS),
    "swagger-ui-bundle.js": (_SWAGGER_UI, _JAVASCRIPT),
    "docs.css": (_OURS, _CSS),
    "docs.js": (_OURS, _JAVASCRIPT),
}
PAGE = "docs.html"


class Content(NamedTuple):
    """The bytes to send, their media type, and a strong ETag, which identifies this version."""

    body: bytes
    media_type: str
    etag: str


def content(body: bytes, media_type: str) -> Content:
    """Return content with the ETag of its bytes."""
    return Content(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@cache
def read_page() -> Content:
    """Read the HTML page, once in each process."""
    return content((_OURS / PAGE).read_bytes(), "text/html; charset=utf-8")


@cache
def read_file(name: str) -> Content:
    """Read a file of FILES, once in each process. All files together take 2 MB of memory.

    Raises KeyError if FILES has no such name.
    """
    folder, media_type = FILES[name]
    return content((folder / name).read_bytes(), media_type)
