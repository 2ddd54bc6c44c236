"""Every failure is a problem of the contract, and checks have the order of the contract."""

import itertools
import json
import re

import pytest
from flask.testing import FlaskClient

from orderapi.errors import OrderApiError, StoreCorrupt
from orderapi.web import problems
from orderapi.web.problems import BY_SLUG
from tests.support.engines import Engine
from tests.support.http_messages import (
    JSON_TYPE,
    PROBLEMS,
    ask,
    check_problem,
    one_answer,
    order,
    raw_request,
)
from tests.support.running import ORDER, REPOSITORY, Server

UNKNOWN = "/orders/01890000-0000-7000-8000-000000000000"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
ALLOWED = {
    "/orders": "GET, HEAD, OPTIONS, POST",
    UNKNOWN: "GET, HEAD, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/readyz": "GET, HEAD, OPTIONS",
    "/problems/not-found": "GET, HEAD, OPTIONS",
}


NOWHERE = [
    "/",
    "/orders/",
    "//orders",
    "///orders",
    "//healthz",
    "/Orders",
    "/orders%20",
    "/orders%00",
    "/orders//",
    "/orders/a/b",
    "/orders;a=b",
    "/./orders",
    "/orders/../healthz",
    "/healthz/",
    "/problems",
    "/problems/",
    "/problems//not-found",
    "/problems/../app.py",
    "/static/x",
    "/favicon.ico",
    "/%0d%0aX-Injected:%20yes",
    "/caf%C3%A9",
    "/%ff",
    "/" + "a" * 4000,
    "http://elsewhere//orders",
]


def test_the_table_is_that_of_the_contract() -> None:
    table = {slug: (p.status, p.retryable, p.key_action) for slug, p in BY_SLUG.items()}
    assert table == PROBLEMS


def test_the_table_of_the_readme_is_the_same() -> None:
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    header = lines.index("| slug | status | retryable | key_action |")
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[header + 2 :])
    written: list[tuple[str, int, bool, str]] = []
    for row in rows:
        named, statuses, retryable, key_action = (
            cell.strip() for cell in row.strip("|").split("|")
        )
        # Text in parentheses explains a slug; slugs with different statuses are separated by `;`.
        groups = re.sub(r"\([^)]*\)", "", named).split(";")
        each_status = [int(status) for status in statuses.split(";")]
        if len(each_status) == 1:
            each_status *= len(groups)
        written += [
            (slug, status, {"yes": True, "no": False}[retryable], key_action)
            for group, status in zip(groups, each_status, strict=True)
            for slug in re.findall(r"`([a-z-]+)`", group)
        ]
    assert sorted(written) == sorted((slug, *facts) for slug, facts in PROBLEMS.items())


@pytest.mark.parametrize("slug", PROBLEMS)
def test_a_problem_document_can_be_written_without_a_request_of_flask(slug: str) -> None:
    body = problems.document(slug, "The second line is not a field.", "id-1", errors={"x": ["y"]})
    assert body.endswith(b"}\n")
    document = json.loads(body)
    assert list(document)[:2] == ["type", "title"]
    assert (document["type"], document["status"]) == (f"/problems/{slug}", PROBLEMS[slug][0])
    assert (document["retryable"], document["key_action"]) == PROBLEMS[slug][1:]
    assert document["detail"] == "The second line is not a field."
    assert (document["request_id"], document["errors"]) == ("id-1", {"x": ["y"]})


@pytest.mark.parametrize("slug", PROBLEMS)
def test_each_problem_is_explained_to_programs(client: FlaskClient, slug: str) -> None:
    answer = ask(client, f"/problems/{slug}")
    status, retryable, key_action = PROBLEMS[slug]
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["type"] == f"/problems/{slug}"
    assert answer.json["status"] == status
    assert (answer.json["retryable"], answer.json["key_action"]) == (retryable, key_action)
    assert answer.json["title"]
    assert answer.json["meaning"]
    assert answer.json["what_to_do"]


@pytest.mark.parametrize("slug", PROBLEMS)
def test_each_problem_is_explained_to_people(client: FlaskClient, slug: str) -> None:
    answer = ask(client, f"/problems/{slug}", Accept=BROWSER)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = answer.body.decode()
    assert slug in page
    assert str(PROBLEMS[slug][0]) in page
    assert "://" not in page


def test_the_page_is_for_those_who_prefer_html(client: FlaskClient) -> None:
    for accept in ("*/*", "application/json", "application/problem+json", "", "image/png", "x;;q"):
        answer = ask(client, "/problems/not-found", Accept=accept)
        assert answer.headers["content-type"] == "application/json", accept
        assert answer.headers["vary"] == "Accept"
    assert ask(client, "/problems/not-found", Accept=BROWSER).headers["vary"] == "Accept"


@pytest.mark.parametrize("target", NOWHERE)
def test_other_paths_are_not_found_and_never_redirect(shared_server: Server, target: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        answer = one_answer(shared_server.raw(raw_request(method, target)))
        check_problem(answer, "not-found")
        assert "x-injected" not in answer.headers


def test_a_problem_that_does_not_exist_is_not_found(client: FlaskClient) -> None:
    for slug in ("nothing-like-this", "Not-Found", "not-found%20", "%00"):
        check_problem(ask(client, f"/problems/{slug}"), "not-found")
        check_problem(ask(client, f"/problems/{slug}", Accept=BROWSER), "not-found")


def test_no_header_changes_the_path_of_a_request(shared_server: Server) -> None:
    for header in (
        "SCRIPT_NAME: /orders",
        "SCRIPT_NAME: /x",
        "PATH_INFO: /healthz",
        "X-Original-URL: /x",
    ):
        received = shared_server.raw(raw_request("GET", "/healthz", header))
        assert one_answer(received).json == {"status": "ok"}


@pytest.mark.parametrize("target", ALLOWED)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "ORDER-IT"])
def test_other_methods_are_named_as_not_allowed(
    shared_server: Server, target: str, method: str
) -> None:
    answer = one_answer(shared_server.raw(raw_request(method, target)))
    check_problem(answer, "method-not-allowed")
    assert answer.headers["allow"] == ALLOWED[target]


def test_post_is_not_allowed_on_resources_that_only_read(client: FlaskClient) -> None:
    for target in (UNKNOWN, "/healthz", "/readyz", "/problems/not-found"):
        answer = ask(client, target, "POST")
        check_problem(answer, "method-not-allowed")
        assert sorted(answer.headers["allow"].split(", ")) == ALLOWED[target].split(", ")


@pytest.mark.parametrize("target", ALLOWED)
def test_options_names_the_methods(shared_server: Server, target: str) -> None:
    answer = one_answer(shared_server.raw(raw_request("OPTIONS", target)))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["allow"] == ALLOWED[target]
    assert answer.headers["x-request-id"]
    assert not {"content-type", "content-length"} & set(answer.headers)


@pytest.mark.parametrize(
    "target",
    [
        "/orders",
        UNKNOWN,
        "/healthz",
        "/readyz",
        "/problems/not-found",
        "/nowhere",
        "/orders?limit=0",
    ],
)
def test_head_answers_as_get_without_the_body(shared_server: Server, target: str) -> None:
    shown = shared_server.request("GET", target)
    head = shared_server.request("HEAD", target)
    assert (head.status, head.body) == (shown.status, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == shown.headers[name]


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/problems/not-found", UNKNOWN])
def test_other_paths_ignore_the_query(client: FlaskClient, target: str) -> None:
    plain = ask(client, target)
    assert ask(client, f"{target}?limit=0&limit=0&%ff=%00&x").status == plain.status


def test_posting_ignores_the_query(client: FlaskClient) -> None:
    first = order(client, "key-1")
    headers = {"Content-Type": "application/json", "Idempotency-Key": "key-1"}
    again = client.post("/orders?limit=0&x=%ff", data=json.dumps(ORDER), headers=headers)
    assert (again.status_code, again.data) == (201, first.body)


# The faults in the order of the checks. Each request also has the faults below its own.
TOO_LARGE = b"{" + b" " * 20_000
FAULTS: list[tuple[str, str, str, tuple[str, ...], bytes]] = [
    ("not-found", "POST", "/nowhere", ("Content-Type: text/plain",), TOO_LARGE),
    ("method-not-allowed", "PUT", "/orders", ("Content-Type: text/plain",), TOO_LARGE),
    ("body-too-large", "POST", "/orders", ("Content-Type: text/plain",), TOO_LARGE),
    ("unsupported-media-type", "POST", "/orders", ("Content-Type: text/plain",), b"{"),
    ("idempotency-key-missing", "POST", "/orders", (JSON_TYPE,), b"{"),
    ("idempotency-key-invalid", "POST", "/orders", (JSON_TYPE, "Idempotency-Key: a b"), b"{"),
    ("malformed-json", "POST", "/orders", (JSON_TYPE, "Idempotency-Key: used"), b"{"),
    ("validation-failed", "POST", "/orders", (JSON_TYPE, "Idempotency-Key: used"), b"{}"),
    (
        "idempotency-key-reused",
        "POST",
        "/orders",
        (JSON_TYPE, "Idempotency-Key: used"),
        json.dumps(ORDER | {"quantity": 2}).encode(),
    ),
]


def test_faults_are_checked_in_the_order_of_the_contract(server: Server) -> None:
    assert server.order("used").status == 201
    for slug, method, target, headers, body in FAULTS:
        received = server.raw(raw_request(method, target, *headers, body=body))
        check_problem(one_answer(received), slug)
    assert server.counts()["orders"] == 1


def test_an_unexpected_exception_is_an_internal_error_without_details_and_stores_nothing(
    server: Server,
) -> None:
    with server.engine.refusing("events", "SELECT secret FROM /tmp/orders.py"):
        answer = server.order("key-1")
        check_problem(answer, "internal-error")
        assert b"secret" not in answer.body
        assert set(server.counts().values()) == {0}
        lines = server.lines_of(answer.headers["x-request-id"])
        (line,) = [each for each in lines if each["level"] == "ERROR"]
        assert "secret" in line["exc_info"]
    assert server.order("key-1").status == 201
    assert set(server.counts().values()) == {1}


def test_a_store_that_cannot_be_reached_is_unavailable_until_it_can_be_reached(
    client: FlaskClient, engine: Engine
) -> None:
    order(client, "key-1")
    with engine.away():
        for answer in (order(client, "key-2"), ask(client, "/orders"), ask(client, UNKNOWN)):
            check_problem(answer, "store-unavailable")
            assert int(answer.headers["retry-after"]) > 0
    assert order(client, "key-2").status == 201


def test_an_error_without_a_row_is_answered_as_the_nearest_type_above_it() -> None:
    assert problems.problem_of(StoreCorrupt("damaged")).slug == "store-unavailable"
    assert problems.problem_of(OrderApiError("other")).slug == "internal-error"
