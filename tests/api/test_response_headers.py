"""Every answer has the headers that protect its reader, whatever its path, method and status."""

import base64
import hashlib
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.http_messages import answers, order, raw_request
from tests.support.running import Answer, Server

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
# Every value that a part of a path can have in this test: one that exists, and one that does not.
PARTS = {
    "order_id": ["01890000-0000-7000-8000-000000000000"],
    "slug": ["not-found", "no-such-problem"],
    "name": ["docs.js", "no-such-file.js"],
}
# These answers are the same for every client. A cache may keep them, but it must revalidate them.
OPEN_TO_ALL = re.compile(r"/openapi\.json|/docs(/docs\.js)?")


def paths_of(app: Flask) -> Iterator[str]:
    """Give the paths of every rule of the application, and one that no rule has."""
    for rule in app.url_map.iter_rules():
        names = sorted(rule.arguments)
        if not names:
            yield rule.rule
        for name in names:
            for value in PARTS[name]:
                yield re.sub(r"<[^>]*>", value, rule.rule)
    yield "/nowhere"


def check_protected(answer: Answer, what: str) -> None:
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff", what
    method, _, rest = what.partition(" ")
    is_open = method in ("GET", "HEAD") and OPEN_TO_ALL.fullmatch(rest.partition(" ")[0])
    assert headers["cache-control"] == ("no-cache" if is_open else "no-store"), what
    if headers.get("content-type", "").startswith("text/html"):
        assert headers["referrer-policy"] == "no-referrer", what
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none';"), what
        for directive in ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
            assert directive in policy, what
        assert "unsafe" not in policy, what


def test_every_path_and_method_is_answered_with_the_protecting_headers(client: FlaskClient) -> None:
    order(client, "key-1")
    for path in paths_of(client.application):
        for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE"):
            for accepted in ({}, BROWSER):
                response = client.open(path, method=method, headers=accepted)
                headers = {name.lower(): value for name, value in response.headers.items()}
                answer = Answer(response.status_code, headers, response.data)
                check_protected(answer, f"{method} {path} {response.status_code}")


def test_a_replay_and_every_refusal_of_an_order_have_the_protecting_headers(
    client: FlaskClient,
) -> None:
    check_protected(order(client, "key-1"), "an order")
    check_protected(order(client, "key-1"), "a replay")
    check_protected(order(client, "key-1", {}), "an invalid order")
    check_protected(order(client, None), "an order without a key")


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", raw_request("GET", "/healthz", "a b: c")])
def test_bytes_that_are_not_http_are_refused_with_the_protecting_headers(
    shared_server: Server, sent: bytes
) -> None:
    (answer,) = answers(shared_server.raw(sent))
    assert answer.status == 400
    check_protected(answer, "not HTTP")


def test_a_page_may_use_its_own_style_and_no_other(client: FlaskClient) -> None:
    page = client.get("/problems/not-found", headers=BROWSER)
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["Content-Security-Policy"]
    assert "style=" not in page.text
    assert "<script" not in page.text
