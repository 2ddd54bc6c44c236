"""nginx and the service agree on the id and the client of a request. nginx's log is JSON."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.http_messages import check_problem, raw_order, raw_request
from tests.support.nginx_site import (
    ELSEWHERE,
    THIS_MACHINE,
    ServerBehind,
    Site,
    ask,
)
from tests.support.running import ORDER, serving
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

BODY = json.dumps(ORDER).encode()


# Request ids.


@pytest.mark.parametrize("request_id", ["a", "x" * 128, "A-Za-z0-9._~:+/=-", "trace:1/2+3=4~5"])
def test_a_request_keeps_its_own_id(site: Site, upstream: Upstream, request_id: str) -> None:
    upstream.script = [200]
    ask(site, "/orders", {"X-Request-ID": request_id})
    assert upstream.received[0].all("X-Request-ID") == [request_id]
    assert ask(site, "/metrics", {"X-Request-ID": request_id}).headers["x-request-id"] == request_id


@pytest.mark.parametrize(
    "request_id", ["", "x" * 129, "a b", "a,b", "caf\u00e9", '"a"', "{a}", "a\\b", "a$b", "a%0a"]
)
def test_a_request_id_that_is_not_valid_is_replaced(
    site: Site, upstream: Upstream, request_id: str
) -> None:
    upstream.script = [200, 200]
    for _ in range(2):
        ask(site, "/orders", {"X-Request-ID": request_id})
    own = check_problem(ask(site, "/metrics", {"X-Request-ID": request_id}), "not-found")
    ids = [*(each.all("X-Request-ID")[0] for each in upstream.received), own["request_id"]]
    assert len(set(ids)) == 3
    assert all(str(UUID(each, version=4)) == each for each in ids)


def test_the_request_id_is_the_same_in_the_response_and_in_both_logs(
    shared_server: ServerBehind,
) -> None:
    answer = shared_server.order("same-id")
    request_id = answer.headers["x-request-id"]
    line = shared_server.site.line_of(request_id)
    assert (line["method"], line["path"], line["status"]) == ("POST", "/orders", "201")
    assert (line["upstream_status"], line["bytes"]) == ("201", len(answer.body))
    (own_line,) = shared_server.lines_of(request_id)
    assert own_line["status"] == 201


# The client.

SPOOFED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;proto=https",
    "X_Forwarded_For": "6.6.6.6",
}


def test_what_a_client_says_about_its_own_address_is_not_sent_on(
    site: Site, upstream: Upstream
) -> None:
    upstream.script = [200]
    ask(site, "/orders", SPOOFED, source=ELSEWHERE)
    (received,) = upstream.received
    # nginx keeps its connection to the service, whatever the client asks for.
    assert received.all("Connection") == []
    assert {name: received.all(name) for name in SPOOFED} == {name: [] for name in SPOOFED} | {
        "X-Forwarded-For": [ELSEWHERE],
        "X-Forwarded-Proto": ["http"],
    }


def test_the_service_believes_only_nginx_about_the_address_of_a_client(
    shared_server: ServerBehind, tmp_path: Path
) -> None:
    answer = ask(shared_server.site, "/healthz", SPOOFED, source=ELSEWHERE)
    assert answer.status == 200
    (line,) = shared_server.lines_of(answer.headers["x-request-id"])
    assert line["address"] == ELSEWHERE
    assert shared_server.site.line_of(answer.headers["x-request-id"])["address"] == ELSEWHERE

    # Over TCP, each client could send such fields, so the service ignores them.
    with serving(tmp_path) as direct:
        answer = direct.request("GET", "/healthz", headers=SPOOFED)
        (line,) = direct.lines_of(answer.headers["x-request-id"])
        assert line["address"] == THIS_MACHINE


# The log.


def test_every_line_of_its_log_is_json_in_ascii_without_keys(shared_server: ServerBehind) -> None:
    secret = "secret-key"
    for number, message in enumerate(
        (
            raw_request("GET", f"/orders?idempotency_key={secret}"),
            raw_order(secret, BODY, "X-Request-ID: a"),
            raw_request("GET", f'/"quoted"\\{{}}?{secret}'),
            raw_request("GET", "/caf\u00e9"),
            raw_request("GET", "/" + "a" * 5_000),
            raw_request("GET", "/%0a%22"),
            b"\x16\x03\x01\x02\x00\x01\x00\xfc\r\n\r\n",
            b"GET\r\n\r\n",
            b"get /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        )
    ):
        before = len(shared_server.site.log_lines())
        assert shared_server.raw(message), number
        wait_until(lambda: len(shared_server.site.log_lines()) > before, "a line")  # noqa: B023
    for line in shared_server.site.log_lines():
        assert isinstance(line["duration_s"], float)
        assert len(line["path"]) <= 256
        assert secret not in json.dumps(line)
