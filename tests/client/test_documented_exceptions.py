"""A call raises only documented exceptions, for all arguments and all answers of a server."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderapi.client import (
    DeadlineExceeded,
    NotFound,
    Order,
    OrderClient,
    OrderClientError,
    Unavailable,
)
from tests.support.raw_server import RawServer, http, raw_server

Call = Callable[[OrderClient], object]

texts = st.text(st.characters(), max_size=300) | st.sampled_from(["x" * 20_000, "\u00e9" * 20_000])
numbers = st.integers() | st.floats() | st.sampled_from([10**5000, -(10**5000), 1e308, 2**63])
anything = st.none() | st.booleans() | numbers | texts | st.binary(max_size=20) | st.lists(texts)
short = st.none() | st.text('a~ "\\', min_size=1, max_size=9)
seconds = st.floats(1e-300, 604_800) | anything
urls = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
    st.sampled_from(["127.0.0.1", "[::1]", "[::g]", "a..b", "xn--a", "é.example", "a" * 64, ""])
    | texts,
    st.sampled_from(["", ":", ":x", ":-1"]) | st.integers(0, 99_999).map(":{}".format),
    st.sampled_from(["", "/", "/a/b", "/a?b", "/\n", "/\x7f"]) | texts.map("/{}".format),
)

PROBLEM = http(404, b'{"title": "Not found"}', b"Content-Type: application/problem+json")
ORDER = {"order_id": "1", "customer_id": "c", "item_id": "i", "quantity": 1, "status": "created"}
CALLS: dict[str, Call] = {
    "create": lambda client: client.create("c", "i", 1, "the-key"),
    "get": lambda client: client.get("1"),
    "list": lambda client: list(islice(client.list(), 3)),
    "events": lambda client: list(islice(client.events(follow=False), 3)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RawServer) -> Iterator[OrderClient]:
    with OrderClient(server.url, wait=False, deadline_s=2) as client:
        yield client


@given(urls | anything, st.none() | anything, seconds, seconds)
@settings(max_examples=60)
def test_the_constructor_succeeds_or_names_the_wrong_argument(
    base_url: Any, token: Any, deadline_s: Any, attempt_s: Any
) -> None:
    try:
        OrderClient(base_url, token, deadline_s=deadline_s, attempt_s=attempt_s).close()
    except ValueError as error:
        named = str(error).partition(": expected ")[0]
        assert named in ("base_url", "token", "deadline_s and attempt_s")


@pytest.mark.parametrize(
    "port", ["0", "65536", "87313", "99999", "-1", "+80", "8_0", "\u0668\u0660"]
)
def test_a_port_that_does_not_exist_is_not_another_port(port: str) -> None:
    """Some libraries use only the lowest 16 bits of the port, and would send the token there."""
    with pytest.raises(ValueError, match="base_url: expected"):
        OrderClient(f"http://127.0.0.1:{port}", "token")


@pytest.mark.parametrize("limits", [{"deadline_s": 1e10}, {"attempt_s": 1e11}, {"deadline_s": "60"},
                                    {"deadline_s": True}, {"attempt_s": float("nan")}])  # fmt: skip
def test_a_limit_that_the_system_cannot_wait_for_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="deadline_s and attempt_s: expected seconds"):
        OrderClient("http://127.0.0.1", **limits)


@pytest.mark.parametrize("retry_after", ["604799", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_longest_limits_work_with_the_longest_retry_after(
    server: RawServer, call: Call, retry_after: str
) -> None:
    server.answer = http(503, b"", b"Retry-After: " + retry_after.encode())
    with (
        OrderClient(server.url, deadline_s=604_800, attempt_s=604_800, wait=False) as client,
        pytest.raises(DeadlineExceeded) as caught,
    ):
        call(client)
    assert isinstance(caught.value.last, Unavailable)
    assert caught.value.retry_after_s >= 604_799


@given(short | anything, short | anything, st.integers() | anything, short | anything)
def test_create_sends_its_request_or_names_the_wrong_argument(
    server: RawServer, client: OrderClient, customer_id: Any, item_id: Any, quantity: Any, key: Any
) -> None:
    assert_sent_or_named(server, lambda: client.create(customer_id, item_id, quantity, key))


@given(short | anything)
def test_get_sends_its_request_or_names_the_wrong_argument(
    server: RawServer, client: OrderClient, order_id: Any
) -> None:
    assert_sent_or_named(server, lambda: client.get(order_id))


@given(short | anything, short | anything, st.integers(1, 100) | anything)
def test_list_sends_its_request_or_names_the_wrong_argument(
    server: RawServer, client: OrderClient, customer_id: Any, key: Any, page_orders: Any
) -> None:
    assert_sent_or_named(
        server, lambda: next(client.list(customer_id, key, page_orders=page_orders))
    )


@given(st.integers(0) | anything, st.booleans() | anything)
def test_events_sends_its_request_or_names_the_wrong_argument(
    server: RawServer, client: OrderClient, after: Any, follow: Any
) -> None:
    assert_sent_or_named(server, lambda: next(client.events(after, follow=follow)))


def test_list_checks_its_arguments_at_once_and_not_at_the_first_order(
    client: OrderClient,
) -> None:
    with pytest.raises(ValueError, match="page_orders: expected an integer from 1 to 100"):
        client.list(page_orders=101)


def test_lone_surrogates_are_not_sent() -> None:
    """JSON joins two lone surrogates to one character, so an answer would not match its request."""
    with raw_server() as server, OrderClient(server.url) as client:
        with pytest.raises(ValueError, match="customer_id: expected text"):
            client.create("\ud83d\ude00", "i", 1)
        assert server.requests == []


NAMES = [b"Retry-After", b"Date", b"Location", b"Content-Type", b"Content-Encoding", b"Set-Cookie",
         b"Content-Length", b"Transfer-Encoding", b"Idempotent-Replayed", b"WWW-Authenticate",
         b"Connection", b"Link", b"X"]  # fmt: skip
VALUES = [b"application/problem+json", b"application/json; charset=utf-16", b"gzip", b"deflate, br",
          b"chunked", b"0", b"9" * 5000, b"-1", b"//]:@", b":http://[", b"//_xn--",
          b"Fri, 31 Dec 9999 23:59:59 -2359", b"a=b; Max-Age=\xff; Domain=..", b"true"]  # fmt: skip
lines = st.builds(
    b"%s: %s".__mod__,
    st.tuples(
        st.sampled_from(NAMES) | st.binary(min_size=1, max_size=9),
        st.sampled_from(VALUES) | st.binary(max_size=40),
    ),
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([*ORDER, "orders", "next_cursor", "events", "next", "sequence",
                         "retryable", "key_action", "detail", "errors"]),
        inner, max_size=6),
    max_leaves=8,
)  # fmt: skip
bodies = st.binary(max_size=60) | documents.map(lambda document: json.dumps(document).encode())
orders = st.fixed_dictionaries({"orders": st.just([ORDER]), "next_cursor": documents | texts})
events = st.fixed_dictionaries(
    {
        "events": st.lists(st.fixed_dictionaries({"sequence": st.text("0123456789") | documents})),
        "next": st.integers() | st.just(10**4000) | documents,
    }
)


@given(
    call=st.sampled_from([*CALLS.values()]),
    status=st.integers(100, 999) | st.sampled_from([200, 201, 302, 401, 403, 503]),
    headers=st.lists(lines, max_size=4),
    body=bodies | (orders | events).map(lambda document: json.dumps(document).encode()),
)
@settings(max_examples=150)
def test_after_any_answer_a_call_ends_as_documented(
    server: RawServer,
    client: OrderClient,
    call: Call,
    status: int,
    headers: list[bytes],
    body: bytes,
) -> None:
    server.answer = http(status, body, *headers)
    try:
        result = call(client)
    except OrderClientError:
        return
    assert isinstance(result, Order | list)


@pytest.mark.parametrize(
    "target", [b"//]:@", b":http://[", b"//_xn--", b"http://[xn--0", b"", b"\xff"]
)
def test_a_redirect_to_any_target_is_refused(
    server: RawServer, client: OrderClient, target: bytes
) -> None:
    server.answer = http(302, b"", b"Location: " + target)
    with pytest.raises(OrderClientError, match="302: no problem document"):
        client.get("1")


def assert_sent_or_named(server: RawServer, call: Callable[[], object]) -> None:
    server.answer = PROBLEM
    server.requests.clear()
    with pytest.raises((NotFound, ValueError)) as caught:
        call()
    assert len(server.requests) == (1 if isinstance(caught.value, NotFound) else 0)
    assert isinstance(caught.value, NotFound) or ": expected " in str(caught.value)
