"""Which attempts are retried, which are not, and until when."""

import logging
import pickle
import socket
import threading
from collections.abc import Callable

import pytest

from orderapi.client import DeadlineExceeded, OrderClient, Refused, Unavailable
from orderapi.client.retrying import NEVER_RETRIED, RETRIED
from orderapi.ops.target import ServerAnswer
from tests.support.chaos import Fault, chaos
from tests.support.client_answers import Always, customer, keys, problem, said
from tests.support.front import Front, Tamper
from tests.support.ports import free_port
from tests.support.promises import promise
from tests.support.rude_server import socket_server
from tests.support.running import Server
from tests.support.waiting import awake_s

HTML = b"<h1>Something else answered</h1>"
OTHER_ORDER = (
    b'{"order_id": "1", "customer_id": "c", "item_id": "i", "quantity": 1, "status": "created"}'
)


@promise("one key, one effect")
@promise("an error is not a verdict")
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
def test_an_order_is_made_once_whatever_the_network_does(service: Server, fault: Fault) -> None:
    name = customer()
    faults = iter([fault, fault])
    with (
        chaos(service, lambda: next(faults, Fault.NONE), late_s=0.8) as proxy,
        OrderClient(proxy.url, attempt_s=0.5) as client,
    ):
        order = client.create(name, "item1", 1)
        sent = {request for request in proxy.requests if request.startswith(b"POST")}
        assert len(sent) == 1
    assert list(OrderClient(service.url).list(name)) == [order]
    surely_made_before = (
        Fault.DROPPED_AFTER,
        Fault.CUT_ANSWER,
        Fault.SHORTENED,
        Fault.BAD_GATEWAY,
    )
    assert order.replayed or fault not in surely_made_before


@pytest.mark.parametrize(
    "lost",
    [
        said(201, b""),
        said(201, HTML),
        said(200, HTML, content_type="text/html"),
        said(201, b'{"order_id": "cut", "customer_'),
        said(201, b'{"order_id": "1"}'),
        said(201, b"[]"),
        said(201, b"[" * 100_000),
        said(204),
        said(201, OTHER_ORDER + b" " * (5 * 1024 * 1024)),
        said(201, b"{}", content_encoding="gzip"),
    ],
    ids=["empty", "html", "a portal's page", "cut", "not all members", "a list", "deep", "no body",
         "endless", "wrongly coded"],
)  # fmt: skip
def test_a_2xx_answer_that_is_no_order_is_a_lost_answer(
    front: Front, fronted_client: OrderClient, lost: Tamper
) -> None:
    name = customer()
    front.answers = {1: lost}
    order = fronted_client.create(name, "item1", 1)
    assert order.replayed
    assert len(keys(front)) == 2
    assert len(set(keys(front))) == 1
    assert list(fronted_client.list(name)) == [order]


@pytest.mark.parametrize("status", sorted(RETRIED))
@pytest.mark.parametrize("kind", [problem, lambda status: said(status, HTML)], ids=["own", "html"])
def test_temporary_failures_are_retried_with_the_same_key(
    front: Front, fronted_client: OrderClient, status: int, kind: Callable[[int], Tamper]
) -> None:
    front.answers = {1: kind(status), 2: kind(status)}
    assert fronted_client.create(customer(), "item1", 1).replayed
    assert len(keys(front)) == 3
    assert len(set(keys(front))) == 1


@pytest.mark.parametrize("status", sorted(NEVER_RETRIED))
def test_failures_of_the_request_itself_are_not_retried(
    front: Front, fronted_client: OrderClient, status: int
) -> None:
    front.answers = {1: problem(status, retryable=True, key_action="reuse")}
    with pytest.raises(Refused) as caught:
        fronted_client.create(customer(), "item1", 1, "the-key" + customer())
    assert (caught.value.status, caught.value.problem["type"]) == (status, "/problems/x")
    assert caught.value.key == keys(front)[0]
    assert len(keys(front)) == 1


@pytest.mark.parametrize(
    ("status", "members", "attempts"),
    [
        (418, {"retryable": True, "key_action": "reuse"}, 2),
        (418, {"retryable": True, "key_action": "none"}, 2),
        (418, {"retryable": True}, 2),
        (418, {"retryable": True, "key_action": "rotate"}, 1),
        (418, {"retryable": False, "key_action": "reuse"}, 1),
        (418, {"retryable": "true"}, 1),
        (507, {}, 1),
        (503, {"retryable": False}, 1),
        (503, {"retryable": True, "key_action": "rotate"}, 1),
    ],
)
def test_for_other_statuses_the_problem_document_decides_about_a_retry(
    front: Front,
    fronted_client: OrderClient,
    status: int,
    members: dict[str, object],
    attempts: int,
) -> None:
    front.answers = {1: problem(status, **members)}
    if attempts == 1:
        with pytest.raises(Refused):
            fronted_client.create(customer(), "item1", 1)
    else:
        assert fronted_client.create(customer(), "item1", 1).replayed
    assert len(keys(front)) == attempts
    assert len(set(keys(front))) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    service: Server, front: Front, fronted_client: OrderClient, status: int
) -> None:
    front.answers = {1: said(status, location=service.url + "/orders")}
    with pytest.raises(Refused) as caught:
        fronted_client.create(customer(), "item1", 1)
    assert (caught.value.status, caught.value.problem) == (status, {})
    assert len(front.requests) == 1


def test_reads_are_retried_too(front: Front, fronted_client: OrderClient) -> None:
    name = customer()
    made = [fronted_client.create(name, "item1", number) for number in (1, 2, 3)]
    spoiled: dict[int, Tamper] = {4: said(502, HTML), 6: problem(503), 8: said(200, b"{")}
    front.answers = spoiled
    assert fronted_client.get(made[0].order_id) == made[0]
    assert list(fronted_client.list(name, page_orders=2)) == made[::-1]
    assert len(front.requests) == 3 + 2 + 4


@promise("an error is not a verdict")
def test_after_the_deadline_a_caller_can_continue_with_the_same_key(
    service: Server, front: Front, fronted_client: OrderClient
) -> None:
    name = customer()
    not_now = b'{"detail":"Not now.","retryable":true,"key_action":"reuse"}'
    # 60 s leave time for three attempts: at 0 s, 25 s and 50 s.
    headers = {"content_type": "application/problem+json", "Retry_After": "25"}
    front.answers = Always(said(503, not_now, **headers))
    with pytest.raises(DeadlineExceeded, match=r"no result within 60 s.*503: Not now\.") as caught:
        fronted_client.create(name, "item1", 1)
    failure = caught.value
    assert isinstance(failure.last, Unavailable)
    assert failure.problem["detail"] == "Not now."
    assert failure.key_action == "reuse"
    assert failure.attempts == len(keys(front)) == 3
    assert {failure.key} == set(keys(front))
    with OrderClient(service.url) as later:
        order = later.create(name, "item1", 1, failure.key)
        assert order.replayed
        assert list(later.list(name)) == [order]


def test_if_nothing_listens_the_call_ends_at_the_deadline_and_carries_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    started = awake_s()
    with OrderClient(f"http://127.0.0.1:{free_port()}", deadline_s=4.0) as client:
        with pytest.raises(DeadlineExceeded, match="call again with key") as caught:
            client.create("cust1", "item1", 1)
        assert caught.value.key
        assert caught.value.attempts >= 2
        assert caught.value.problem == {}
        assert caught.value.retry_after_s == 0
    assert awake_s() - started < 20
    assert "refused" in caplog.text


def test_failures_can_be_pickled() -> None:
    """Task queues and process pools pickle the exceptions of their tasks."""
    last = Unavailable(503, {"detail": "Not now."}, "key-1", 2.0)
    failure = pickle.loads(pickle.dumps(DeadlineExceeded(60.0, 3, "key-1", last)))
    assert (failure.key, failure.attempts, failure.last.status) == ("key-1", 3, 503)
    assert str(failure) == (
        "no result within 60 s, after 3 attempts; the last: 503: Not now.;"
        " call again with key 'key-1'"
    )


def test_a_call_to_a_server_that_sends_byte_by_byte_ends_at_its_deadline() -> None:
    pause = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not pause.wait(0.05):
            connection.sendall(b"x")

    with socket_server(drip) as url, OrderClient(url, deadline_s=0.8) as client:
        started = awake_s()
        try:
            with pytest.raises(DeadlineExceeded):
                client.get("x")
            assert awake_s() - started < 20
        finally:
            pause.set()


def test_an_attempt_that_hangs_leaves_time_for_another(service: Server) -> None:
    """An attempt gets at most half of the deadline, even if `attempt_s` is longer."""
    faults = iter([Fault.LATE])
    with (
        chaos(service, lambda: next(faults, Fault.NONE), late_s=6) as proxy,
        OrderClient(proxy.url, deadline_s=10, attempt_s=1000) as client,
    ):
        order = client.create(customer(), "item1", 1)
        assert len(proxy.requests) == 2
    assert list(OrderClient(service.url).list(order.customer_id)) == [order]


def test_many_threads_use_one_client_and_each_gets_its_own_answers(front: Front) -> None:
    def spoil(answer: ServerAnswer) -> ServerAnswer:
        return answer if answer.headers.get("idempotent-replayed") else said(503)(answer)

    front.answers = Always(spoil)
    name = customer()
    made: dict[int, tuple[str, bool]] = {}
    with OrderClient(front.url) as client:

        def call(number: int) -> None:
            order = client.create(name, f"item-{number}", 1)
            made[number] = (order.item_id, order.replayed)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert made == {number: (f"item-{number}", True) for number in range(16)}
    assert len(keys(front)) == 32
