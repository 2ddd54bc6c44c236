"""Whether answers match the schemas that are published for them."""

from flask import Flask
from werkzeug.test import TestResponse

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.web.problems import MEDIA_TYPE
from orderapi.web.schemas.responses import FAILURE, RESPONSES

# This application serves no request: it has the routes.
ROUTES: Flask = create_app(read_settings({}))


def endpoint_of(path: str, method: str) -> str:
    """Return the name of the view that a request leads to."""
    return str(ROUTES.url_map.bind("").match(path, method)[0])


def check_schema(response: TestResponse) -> None:
    """Assert that an answer with JSON in it matches its schema."""
    if response.mimetype == MEDIA_TYPE:
        if response.data:
            assert FAILURE.validate(response.get_json(force=True)) == {}
    elif response.mimetype == "application/json" and response.data:
        endpoint = endpoint_of(response.request.path, response.request.method)
        assert RESPONSES[endpoint][response.status_code].validate(response.get_json()) == {}
