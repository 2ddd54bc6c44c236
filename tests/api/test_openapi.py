"""The OpenAPI document: it describes each route and nothing else, and its examples are right."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.web.openapi.files import FILES
from orderapi.web.problems import BY_SLUG
from tests.support.openapi import document_of
from tests.support.response_schemas import ROUTES
from tests.support.running import serving

WHOLE = document_of(ROUTES)
METHODS = ("get", "put", "post", "delete", "patch", "trace")
Node = dict[str, Any]


def operations(tree: Node) -> Iterator[tuple[str, str, Node]]:
    for path, item in tree["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def published(**settings: str) -> Node:
    answer = create_app(read_settings(settings)).test_client().get("/openapi.json")
    assert answer.status_code == 200
    tree: Node = json.loads(answer.data)
    return tree


@pytest.mark.parametrize(
    "settings", [{}, {"ORDERAPI_AUTH": "required", "ORDERAPI_FAULT_INJECTION": "off"}]
)
def test_the_document_is_valid(settings: dict[str, str]) -> None:
    tree = published(**settings)
    assert tree["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(tree).iter_errors()] == []


def test_each_route_is_described_and_nothing_else_is() -> None:
    routes = {
        (re.sub(r"<([^>]*)>", r"{\1}", rule.rule), method.lower())
        for rule in ROUTES.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    described = {(path, method) for path, method, _ in operations(published())}
    assert described == routes
    assert ("/orders", "post") in described


def test_each_operation_has_words_of_its_own() -> None:
    summaries = [operation["summary"] for _, _, operation in operations(WHOLE.tree)]
    names = [operation["operationId"] for _, _, operation in operations(WHOLE.tree)]
    assert len(set(summaries)) == len(summaries)
    assert len(set(names)) == len(names)


def test_each_problem_is_in_the_document_and_nothing_else_is() -> None:
    named = {
        WHOLE.follow(answer)["content"]["application/problem+json"]["schema"]["allOf"][1][
            "properties"
        ]["type"]["enum"][0]
        for _, _, operation in operations(WHOLE.tree)
        for status, answer in operation["responses"].items()
        if int(status) >= 400
    }
    assert named <= {f"/problems/{slug}" for slug in BY_SLUG}
    assert set(WHOLE.tree["components"]["examples"]) == set(BY_SLUG)


def _content(tree: Node) -> Iterator[tuple[str, Node]]:
    items = [*tree["paths"].items(), *tree["webhooks"].items()]
    for path, item in items:
        for method, operation in item.items():
            where = f"{method} {path}"
            for media_type in operation.get("requestBody", {}).get("content", {}).values():
                yield where, media_type
            for status, answer in operation["responses"].items():
                for media_type in WHOLE.follow(answer).get("content", {}).values():
                    yield f"{where} {status}", media_type


def _examples(node: Node) -> list[Any]:
    single = [node["example"]] if "example" in node else []
    return single + [WHOLE.follow(each)["value"] for each in node.get("examples", {}).values()]


def test_every_example_of_a_body_has_its_schema() -> None:
    checked = 0
    for where, media_type in _content(WHOLE.tree):
        for example in _examples(media_type):
            assert WHOLE.findings(media_type["schema"], example) == [], where
            checked += 1
    assert checked > 30


def test_every_example_of_a_parameter_and_of_a_header_has_its_schema() -> None:
    parts = WHOLE.tree["components"]
    delivery = WHOLE.tree["webhooks"]["order.created"]["post"]
    checked = 0
    for node in (
        *parts["parameters"].values(),
        *parts["headers"].values(),
        *delivery["parameters"],
    ):
        for example in _examples(node):
            assert WHOLE.findings(node["schema"], example) == [], node
            checked += 1
    assert checked > 8


@pytest.mark.parametrize(
    ("schema", "member", "type_"),
    [
        ("NewOrder", "quantity", "integer"),
        ("Order", "quantity", "integer"),
        ("EventPage", "next", "integer"),
        ("Problem", "status", "integer"),
        ("Problem", "retryable", "boolean"),
        ("Event", "sequence", "string"),
        ("OrderPage", "next_cursor", ["string", "null"]),
    ],
)
def test_a_member_has_its_own_type(schema: str, member: str, type_: object) -> None:
    properties = WHOLE.tree["components"]["schemas"][schema]["properties"]
    assert properties[member]["type"] == type_


@pytest.mark.parametrize(
    ("name", "minimum", "maximum", "default"),
    [("limit", 1, 100, 20), ("after", 0, None, 0), ("wait", 0, 30, 0)],
)
def test_a_parameter_has_its_limits(
    name: str, minimum: int, maximum: int | None, default: int
) -> None:
    found = next(
        parameter["schema"]
        for _, _, operation in operations(WHOLE.tree)
        for parameter in operation["parameters"]
        if parameter.get("name") == name and parameter["schema"].get("default") == default
    )
    assert found["type"] == "integer"
    assert found["minimum"] == minimum
    assert maximum is None or found["maximum"] == maximum


def test_both_forms_of_a_key_match_and_no_others() -> None:
    schema = WHOLE.tree["components"]["parameters"]["Idempotency-Key"]["schema"]
    for key in ("test-123", '"test-123"', '"a b, c"', r'"a\"b\\"', "a" * 255):
        assert WHOLE.findings(schema, key) == [], key
    for key in ("", "a b", "a,b", '"', '"a', '""', '"a";b', "a" * 256, "caf\u00e9"):
        assert WHOLE.findings(schema, key) != [], key


def test_an_open_service_describes_no_token() -> None:
    tree = published()
    assert "securitySchemes" not in tree["components"]
    statuses = {status for _, _, each in operations(tree) for status in each["responses"]}
    assert not statuses & {"401", "403"}


def test_a_service_with_tokens_says_which_scope_each_operation_needs() -> None:
    tree = published(ORDERAPI_AUTH="required")
    (name,) = tree["components"]["securitySchemes"]
    assert tree["components"]["securitySchemes"][name]["scheme"] == "bearer"
    needed = {(path, method): each.get("security") for path, method, each in operations(tree)}
    assert needed["/orders", "post"] == [{name: ["write"]}]
    assert needed["/orders", "get"] == needed["/events", "get"] == [{name: ["read"]}]
    assert needed["/healthz", "get"] is None


def test_a_service_without_fault_injection_does_not_describe_it() -> None:
    whole, without = published(), published(ORDERAPI_FAULT_INJECTION="off")
    assert "X-Debug-Fail-After-Commit" in whole["components"]["parameters"]
    assert "X-Debug-Fail-After-Commit" not in without["components"]["parameters"]
    assert "simulated-failure" not in without["components"]["examples"]


def test_every_worker_has_the_same_document(tmp_path: Path) -> None:
    with serving(tmp_path, WORKERS="2") as server:
        answers = [server.request("GET", "/openapi.json") for _ in range(30)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/docs.js"])
def test_a_copy_that_is_still_right_is_not_sent_again(client: FlaskClient, path: str) -> None:
    first = client.get(path)
    tag = first.headers["ETag"]
    for sent in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = client.get(path, headers={"If-None-Match": sent})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag), sent
    other = client.get(path, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.data) == (200, first.data)


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_of_the_page_is_sent_with_its_type(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/docs/{name}")
    assert answer.status_code == 200
    kind = "javascript" if name.endswith(".js") else "css"
    assert answer.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
    assert len(answer.data) > 10


@pytest.mark.parametrize(
    "name", ["", "nothing.js", "../document.py", "%2e%2e/document.py", "docs.html", "docs.js/"]
)
def test_no_other_file_is_sent(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404


def test_the_page_names_only_files_that_are_sent(client: FlaskClient) -> None:
    page = client.get("/docs").text
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {name for name in named if name.startswith("/docs/")} == {
        f"/docs/{name}" for name in FILES
    }
    assert all(name.startswith(("/docs/", "data:", "/openapi.json")) for name in named)
