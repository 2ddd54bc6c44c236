"""The headers of a proxy about its client are trusted on a unix socket, and ignored over TCP."""

from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from werkzeug.middleware.proxy_fix import ProxyFix

from orderapi.web import proxy

HEADERS: list[dict[str, str]] = [
    {},
    {"X-Forwarded-For": "203.0.113.7"},
    {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"},
    {"X-Forwarded-For": "6.6.6.6,2001:db8::1"},
    {"X-Forwarded-For": ""},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http, https"},
    {"X-Forwarded-Host": "elsewhere", "X-Forwarded-Prefix": "/x", "X-Forwarded-Port": "1"},
]


def new_app() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.get("/")
    def show() -> Any:
        request = flask.request
        return [request.remote_addr, request.scheme, request.host, request.script_root]

    return app


def seen(client: FlaskClient, headers: dict[str, str], address: str) -> Any:
    return client.get("/", headers=headers, environ_overrides={"REMOTE_ADDR": address}).json


@pytest.mark.parametrize("headers", HEADERS)
def test_over_a_unix_socket_the_nearest_proxy_is_believed(headers: dict[str, str]) -> None:
    ours, theirs = new_app(), new_app()
    proxy.register(ours)
    theirs.wsgi_app = ProxyFix(theirs.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    assert seen(ours.test_client(), headers, "") == seen(theirs.test_client(), headers, "")


@pytest.mark.parametrize("headers", HEADERS)
def test_over_tcp_the_headers_of_a_client_mean_nothing(headers: dict[str, str]) -> None:
    app = new_app()
    proxy.register(app)
    assert seen(app.test_client(), headers, "192.0.2.1") == ["192.0.2.1", "http", "localhost", ""]
