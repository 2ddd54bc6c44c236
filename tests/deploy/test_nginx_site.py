"""The shipped nginx site: its own responses, its limits and its time-outs."""

import http.client
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from orderapi.documents import dump
from orderapi.web.problems import BY_SLUG, RETRY_AFTER_S
from tests.support.http_messages import answers, check_problem, raw_order
from tests.support.nginx_site import (
    ELSEWHERE,
    ELSEWHERE_TOO,
    SHIPPED,
    THIS_MACHINE,
    ServerBehind,
    Site,
    ask,
    finish,
    new_site,
    serving_behind,
)
from tests.support.running import Answer, answer_of
from tests.support.upstream import SILENCE, Upstream, listening
from tests.support.waiting import wait_until

OWN_PROBLEMS = (
    "bad-request",
    "not-found",
    "method-not-allowed",
    "body-too-large",
    "rate-limited",
    "internal-error",
    "bad-gateway",
    "store-unavailable",
    "gateway-timeout",
)

# Responses of nginx itself.


def test_the_problem_documents_of_nginx_equal_those_of_the_service() -> None:
    written = dict(
        re.findall(r"^    (\d+) '(.*)\\n';$", (SHIPPED / "orderapi/http.conf").read_text(), re.M)
    )
    expected = {}
    for problem in (BY_SLUG[slug] for slug in OWN_PROBLEMS):
        document = {
            "type": f"/problems/{problem.slug}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.meaning,
            "request_id": "$orderapi_request_id",
            "retryable": problem.retryable,
            "key_action": problem.key_action,
        }
        expected[str(problem.status)] = dump(document).removesuffix("\n")
    assert written == expected


def test_every_status_with_a_problem_document_has_its_document() -> None:
    text = (SHIPPED / "orderapi/server.conf").read_text()
    lists = re.findall(r"error_page ([0-9 ]+) /nginx-problem;", text)
    every, behind = (set(each.split()) for each in lists)
    assert every == {str(BY_SLUG[slug].status) for slug in OWN_PROBLEMS}
    # In the location in which a 502 leads to another attempt, only the 502 is missing.
    assert behind == every - {"502"}


def test_without_the_service_each_request_gets_a_bad_gateway(site: Site) -> None:
    for target in ("/orders", "/healthz", "/nowhere"):
        answer = ask(site, target)
        check_problem(answer, "bad-gateway")
        assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
        assert answer.headers["server"] == "nginx"


def test_a_site_that_an_operator_has_closed_answers_503_until_it_is_opened(
    shared_server: ServerBehind,
) -> None:
    site = shared_server.site
    site.closed.touch()
    try:
        for target in ("/orders", "/healthz", "/nowhere"):
            answer = ask(site, target)
            check_problem(answer, "store-unavailable")
            assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
        check_problem(shared_server.order("key"), "store-unavailable")
    finally:
        site.closed.unlink()
    assert not shared_server.order("key").headers.get("idempotent-replayed")


def test_the_documents_of_nginx_have_the_protecting_headers_of_the_service(site: Site) -> None:
    for target in ("/orders", "/metrics", "/%ff%00"):
        answer = ask(site, target)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_the_site_serves_as_soon_as_the_service_serves(nginx: str) -> None:
    with new_site(nginx) as site:
        site.start()
        for _ in range(2):
            check_problem(ask(site, "/healthz"), "bad-gateway")
            with serving_behind(site) as server:
                assert server.order("k").status == 201


def test_a_body_over_32_kib_is_refused_without_the_service(site: Site) -> None:
    for framing in (
        b"Content-Length: 40000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n9c40\r\n",
    ):
        head = b"POST /orders HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n"
        with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
            connection.sendall(head + framing + b" " * 40_000)
            response = http.client.HTTPResponse(connection)
            response.begin()
            check_problem(answer_of(response), "body-too-large")


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/metrics?x",
        "/%6detrics",
        "//metrics",
        "/./metrics",
        "/a/../metrics",
        "/METRICS",
    ],
)
def test_metrics_cannot_be_read_through_the_site(
    site: Site, upstream: Upstream, target: str
) -> None:
    upstream.script = [404]
    assert ask(site, target).status == 404
    # In capitals it is another path. The service answers 404 for it.
    assert [each.line for each in upstream.received] == (
        ["GET /METRICS HTTP/1.1"] if target == "/METRICS" else []
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_monitor_on_this_machine_can_read_the_metrics(site: Site, method: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.metrics_port, timeout=30)
    with serving_behind(site):
        answer = finish(connection, method, "/metrics", {})
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert (b"orderapi_events_total 0.0" in answer.body) is (method == "GET")


@pytest.mark.parametrize("target", ["/", "/orders", "/healthz", "/metrics/", "/metricsx"])
def test_the_port_of_the_metrics_serves_nothing_else(
    site: Site, upstream: Upstream, target: str
) -> None:
    assert ask(site, target, port=site.metrics_port).status == 404
    assert upstream.received == []


def test_the_metrics_are_on_no_other_address_of_this_machine(site: Site) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ELSEWHERE, site.metrics_port), timeout=30)


# The rate limit.


def flood(site: Site, source: str) -> list[Answer]:
    """Send more requests at once than one address may send, and give the responses."""
    one = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
    with socket.create_connection(
        ("127.0.0.1", site.port), timeout=30, source_address=(source, 0)
    ) as connection:
        connection.sendall((one + b"\r\n") * 899 + one + b"Connection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    return answers(received)


def test_an_address_with_too_many_requests_is_limited_and_other_addresses_are_not(
    site: Site,
) -> None:
    found = flood(site, ELSEWHERE)
    limited = [answer for answer in found if answer.status == 429]
    # No service is running, so each request that is not limited gets a 502 at once.
    assert [answer.status for answer in found[:200]] == [502] * 200
    assert limited
    for answer in limited:
        check_problem(answer, "rate-limited")
        assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
    assert ask(site, "/healthz", source=ELSEWHERE_TOO).status == 502
    wait_until(
        lambda: ask(site, "/healthz", source=ELSEWHERE).status == 502,
        "the address is not limited any more",
    )


def test_this_machine_is_not_limited(site: Site) -> None:
    assert {answer.status for answer in flood(site, THIS_MACHINE)} == {502}


# The limit of requests that wait for events.

POLL = "/events?after=1&wait=30"


@contextmanager
def polls(site: Site, source: str, count: int, path: str = POLL) -> Iterator[list[socket.socket]]:
    """Send so many long polls from an address, each over a connection of its own."""
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connections.append(
                stack.enter_context(
                    socket.create_connection(
                        ("127.0.0.1", site.port), timeout=30, source_address=(source, 0)
                    )
                )
            )
            connections[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        yield connections


@pytest.mark.parametrize("path", [POLL, "/%65vents?w%61it=30"])
def test_too_many_long_polls_of_one_address_are_refused_and_those_of_others_are_not(
    site: Site, upstream: Upstream, path: str
) -> None:
    upstream.script = [SILENCE] * 80
    with polls(site, ELSEWHERE, 64, path):
        wait_until(lambda: len(upstream.received) == 64)
        answer = ask(site, path, source=ELSEWHERE)
        check_problem(answer, "rate-limited")
        assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
        with polls(site, ELSEWHERE_TOO, 5, path), polls(site, THIS_MACHINE, 5, path):
            wait_until(lambda: len(upstream.received) == 74)
        # Only requests for events are limited.
        upstream.script = [200]
        assert ask(site, "/healthz", source=ELSEWHERE).status == 200


def test_long_polls_of_all_addresses_leave_connections_of_nginx_for_orders(
    site: Site, upstream: Upstream
) -> None:
    sources = [f"127.0.1.{number}" for number in range(1, 7)]
    upstream.script = [SILENCE] * 256
    with ExitStack() as stack:
        for source in sources[:4]:
            stack.enter_context(polls(site, source, 64))
        wait_until(lambda: len(upstream.received) == 256)
        for source in sources[4:]:
            check_problem(ask(site, POLL, source=source), "rate-limited")
        upstream.script = [201]
        assert ask(site, "/orders", source=sources[5]).status == 201


# Time-outs.


@pytest.mark.parametrize(
    "begun", [b"", b"POST /orders HT", raw_order("k", b"{", "Content-Length: 900")]
)
def test_nginx_closes_the_connection_of_a_client_that_stops_in_the_middle(
    nginx: str, begun: bytes
) -> None:
    with new_site(nginx) as site:
        site.replace("client_header_timeout 10s;", "client_header_timeout 1s;")
        site.replace("client_body_timeout 10s;", "client_body_timeout 1s;")
        site.start()
        with listening(site.socket) as upstream:
            with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
                connection.sendall(begun)
                assert connection.recv(1) == b""
            assert upstream.connections == 0
