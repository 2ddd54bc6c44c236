"""Whether answers match the schemas that are published for them."""

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.web.problems import MEDIA_TYPE
from orderapi.web.schemas.responses import FAILURE, RESPONSES
from tests.support.openapi import document_of

# This application serves no request: it has the routes.
ROUTES: Flask = create_app(read_settings({}))


def endpoint_of(path: str, method: str) -> str:
    """Return the name of the view that a request leads to."""
    return str(ROUTES.url_map.bind("").match(path, method)[0])


def check_schema(response: TestResponse) -> None:
    """Assert that an answer matches its schema, and that the OpenAPI document describes it."""
    path, method = response.request.path, response.request.method
    if response.mimetype == MEDIA_TYPE and response.data:
        assert FAILURE.validate(response.get_json(force=True)) == {}
    try:
        endpoint = endpoint_of(path, method)
    except HTTPException:  # the document describes what exists
        return
    if method == "OPTIONS" or path.startswith("//"):
        return
    headers = {name.lower(): value for name, value in response.headers.items()}
    document_of(ROUTES).check_answer(endpoint, method, response.status_code, headers, response.data)
    schema = RESPONSES.get(endpoint, {}).get(response.status_code)
    if schema is not None and response.mimetype == "application/json" and response.data:
        assert schema.validate(response.get_json()) == {}
