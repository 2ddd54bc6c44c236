"""nginx repeats a request only if a second attempt is safe."""

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest

from tests.support.http_messages import check_problem
from tests.support.nginx_site import ServerBehind, Site, finish, new_site, serving_behind
from tests.support.promises import promise
from tests.support.running import Answer
from tests.support.upstream import (
    CLOSE,
    HALF_A_BODY,
    HALF_A_HEAD,
    SILENCE,
    Upstream,
)
from tests.support.waiting import wait_until

KEYED = {"Idempotency-Key": "k", "X-Request-ID": "the-request"}
UNKEYED = {"X-Request-ID": "the-request"}
BODY = b'{"customer_id":"cust1"}'


@pytest.fixture
def patience_s() -> int:
    """Give the time that nginx waits for the service, as shipped."""
    return 40


@pytest.fixture
def site(nginx: str, patience_s: int) -> Iterator[Site]:
    with new_site(nginx) as site:
        site.replace("proxy_read_timeout 40s;", f"proxy_read_timeout {patience_s}s;")
        site.start()
        yield site


def send(site: Site, method: str, headers: dict[str, str], body: bytes | None = BODY) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    return finish(connection, method, "/orders", headers, body)


@pytest.mark.parametrize("failure", [CLOSE, HALF_A_HEAD])
def test_a_post_with_a_key_is_repeated_unchanged(
    site: Site, upstream: Upstream, failure: str
) -> None:
    upstream.script = [failure] * 5 + [201]
    assert send(site, "POST", KEYED).status == 201
    assert len(upstream.received) == 6
    (first,) = set(upstream.received)
    assert (first.line, first.body) == ("POST /orders HTTP/1.1", BODY)
    assert (first.all("Idempotency-Key"), first.all("X-Request-ID")) == (["k"], ["the-request"])


@pytest.mark.parametrize("failure", [CLOSE, HALF_A_HEAD])
@pytest.mark.parametrize("headers", [UNKEYED, {"Idempotency-Key": ""}, {"Idempotency-Key": "  "}])
def test_a_post_without_a_key_is_never_repeated(
    site: Site, upstream: Upstream, failure: str, headers: dict[str, str]
) -> None:
    upstream.script = [failure]
    check_problem(send(site, "POST", headers), "bad-gateway")
    assert len(upstream.received) == 1


def test_a_get_is_repeated(site: Site, upstream: Upstream) -> None:
    upstream.script = [CLOSE, CLOSE, 200]
    assert send(site, "GET", UNKEYED, None).status == 200
    assert len(upstream.received) == 3


def test_a_sixth_failure_is_reported_and_the_next_request_is_sent_at_once(
    site: Site, upstream: Upstream
) -> None:
    for _ in range(3):
        upstream.script = [CLOSE] * 6
        answer = send(site, "POST", KEYED)
        check_problem(answer, "bad-gateway")
        assert answer.headers["retry-after"] == "2"
        assert upstream.script == []
    upstream.script = [201]
    assert send(site, "POST", KEYED).status == 201


@pytest.mark.parametrize("patience_s", [1])
@pytest.mark.parametrize(
    ("method", "headers"), [("POST", KEYED), ("POST", UNKEYED), ("GET", UNKEYED)]
)
def test_after_a_time_out_no_request_is_repeated(
    site: Site, upstream: Upstream, method: str, headers: dict[str, str]
) -> None:
    upstream.script = [SILENCE]
    answer = send(site, method, headers)
    check_problem(answer, "gateway-timeout")
    assert answer.headers["retry-after"] == "2"
    wait_until(lambda: bool(upstream.received))
    assert len(upstream.received) == 1


@pytest.mark.parametrize("status", [400, 409, 413, 429, 500, 502, 503, 504])
def test_a_response_of_the_service_is_sent_on_unchanged(
    site: Site, upstream: Upstream, status: int
) -> None:
    upstream.script = [status]
    answer = send(site, "POST", KEYED)
    assert (answer.status, answer.body) == (status, b"ok")
    assert len(upstream.received) == 1


def test_a_response_that_has_begun_is_not_repeated(site: Site, upstream: Upstream) -> None:
    upstream.script = [HALF_A_BODY]
    with pytest.raises(http.client.IncompleteRead):
        send(site, "POST", KEYED)
    assert len(upstream.received) == 1


def test_a_second_attempt_is_made_over_a_new_connection(site: Site, upstream: Upstream) -> None:
    # When a worker dies, all idle connections from nginx to this worker fail.
    with ThreadPoolExecutor(4) as clients:
        upstream.script = [201] * 4
        upstream.together = threading.Barrier(4)
        list(clients.map(lambda _: send(site, "POST", KEYED), range(4)))
    assert upstream.connections == 4
    upstream.together = None
    upstream.script = [CLOSE, 201]
    assert send(site, "POST", KEYED).status == 201
    assert upstream.connections == 5


@promise("one key, one effect")
def test_killed_workers_fail_no_keyed_order(nginx: str) -> None:
    with new_site(nginx) as site:
        site.start()
        with serving_behind(site) as server, orders_of_four(server) as statuses:
            for _ in range(3):
                kill_one_of_two(server, statuses)
            assert set(statuses) == {201}


def kill_one_of_two(server: ServerBehind, statuses: list[int]) -> None:
    so_far, first = len(statuses), server.workers()[0]
    wait_until(lambda: len(statuses) > so_far + 20, "more orders are answered")
    os.kill(first, signal.SIGKILL)
    wait_until(
        lambda: first not in server.workers() and len(server.workers()) == 2,
        "a new worker has replaced it",
    )


@contextmanager
def orders_of_four(server: ServerBehind) -> Iterator[list[int]]:
    """Let four clients place orders, each order once, and give the statuses of the responses."""
    statuses: list[int] = []
    enough = threading.Event()

    def order(client: int) -> None:
        for number in count():
            if enough.is_set():
                return
            statuses.append(server.order(f"{client}-{number}").status)

    threads = [threading.Thread(target=order, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert server.counts()["orders"] == len(statuses)
