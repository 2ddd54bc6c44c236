"""Tokens through the shipped site: nginx passes them on, and keeps them out of its logs."""

from collections.abc import Iterator

import pytest

from tests.support.http_messages import check_problem, one_answer, raw_request
from tests.support.nginx_site import ELSEWHERE, ServerBehind, ask, new_site, serving_behind
from tests.support.tokens import bearer, create, get, order


@pytest.fixture(scope="module")
def guarded(nginx: str) -> Iterator[ServerBehind]:
    """Give a service that requires tokens, behind the shipped site."""
    with new_site(nginx) as site:
        site.start()
        with serving_behind(site, AUTH="required") as server:
            yield server


def test_a_request_with_a_token_is_accepted_through_nginx(guarded: ServerBehind) -> None:
    _, token = create(guarded.engine, "shop")
    first, again = (order(guarded, "key-1", token) for _ in range(2))
    assert (first.status, again.status) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert get(guarded, first.headers["location"], token).json == first.json


def test_without_a_token_nginx_passes_on_the_challenge(guarded: ServerBehind) -> None:
    refused = guarded.request("GET", "/orders")
    check_problem(refused, "unauthorized")
    assert refused.headers["www-authenticate"] == 'Bearer realm="orderapi"'
    for path in ("/healthz", "/readyz", "/problems/unauthorized"):
        assert guarded.request("GET", path).status == 200
    site = guarded.site
    assert ask(site, "/metrics", port=site.metrics_port).status == 200


PLACES = ("/", "//", "/./", "/a/../", "/orders/../", "/problems/..%2f", "/%2e%2e/", "/%2F", "/\\")
SPELLINGS = (
    "metrics",
    *("metrics" + end for end in ("/", "/.", "//", "?x", "#x", ";x", "%3fx", "%23x", "%2f", "%20")),
    *("metrics"[:at] + f"%{ord('metrics'[at]):02x}" + "metrics"[at + 1 :] for at in range(7)),
    "METRICS",
    "%256detrics",
    "metrics%00",
    "x%0d%0aX:%20/metrics",
)


def test_no_spelling_of_a_path_leads_past_nginx_to_the_metrics(guarded: ServerBehind) -> None:
    """nginx compares the path before it sends the request on, and the service reads it again."""
    targets = [place + spelling for place in PLACES for spelling in SPELLINGS]
    targets += [f"http://{host}/metrics" for host in ("localhost", "127.0.0.1:9108", "a")]
    for target in targets:
        answer = one_answer(guarded.raw(raw_request("GET", target)))
        assert answer.status in (400, 401, 404), target
        assert b"orderapi_" not in answer.body, target


def test_no_spelling_of_a_path_leads_past_the_token(guarded: ServerBehind) -> None:
    for path in ("orders", "events"):
        for place in PLACES:
            for spelling in (path, f"%{ord(path[0]):02x}{path[1:]}", f"{path}/", f"{path}%2f"):
                target = place + spelling
                answer = one_answer(guarded.raw(raw_request("GET", target)))
                assert answer.status in (400, 401, 404), target


def test_two_tokens_in_one_request_are_refused(guarded: ServerBehind) -> None:
    _, token = create(guarded.engine, "shop")
    header = f"Authorization: Bearer {token}"
    sent = raw_request("GET", "/orders", header, header)
    assert one_answer(guarded.raw(sent)).status in (400, 401)


def test_a_token_is_in_no_log(guarded: ServerBehind) -> None:
    _, token = create(guarded.engine, "shop")
    site = guarded.site
    ask(site, "/orders", bearer(token) | {"X-Request-ID": "accepted"})
    # nginx writes a line about the request that it refuses into its error.log too.
    too_long = {"X-Request-ID": "refused", "Content-Length": "99999999"}
    ask(site, "/orders", bearer(token) | too_long, ELSEWHERE)
    site.line_of("accepted")
    site.line_of("refused")
    guarded.lines_of("accepted")
    logs = [*site.directory.glob("*.log"), guarded.log_path]
    assert len(logs) >= 3
    assert all(token not in log.read_text() for log in logs)
