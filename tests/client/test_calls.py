"""What the calls of the client return, and which calls are refused."""

import json

import pytest

from orderapi.client import KeyReused, NotFound, Order, OrderClient, ValidationFailed, new_key
from tests.support.client_answers import customer, keys, said
from tests.support.front import Front
from tests.support.running import Server


def test_an_order_is_created_shown_and_listed(client: OrderClient) -> None:
    name = customer()
    order = client.create(name, "item1", 3)
    assert order == Order(order.order_id, name, "item1", 3, "created")
    assert not order.replayed
    assert client.get(order.order_id) == order
    assert list(client.list(name)) == [order]


def test_the_same_key_returns_the_same_order_as_a_replay(client: OrderClient) -> None:
    name, key = customer(), new_key()
    first = client.create(name, "item1", 1, key)
    again = client.create(name, "item1", 1, key=key)
    assert again == first
    assert (first.replayed, again.replayed) == (False, True)


def test_each_call_without_a_key_gets_a_key_of_its_own(
    front: Front, fronted_client: OrderClient
) -> None:
    name = customer()
    assert fronted_client.create(name, "i", 1) != fronted_client.create(name, "i", 1)
    assert len(set(keys(front))) == 2


@pytest.mark.parametrize(
    "key", ["plain", "two words", 'a "quoted" one', "back\\slash", "a,b", " x ", "~" * 255, '"x"']
)
def test_a_key_is_the_same_in_the_header_in_the_filter_and_in_the_database(
    service: Server, client: OrderClient, key: str
) -> None:
    order = client.create("keys", "item1", 1, key)
    assert list(client.list(key=key)) == [order]
    saved = service.rows("SELECT idempotency_key, order_id FROM idempotency_keys")
    assert (key, order.order_id) in saved


@pytest.mark.parametrize("key", ["", "é", "a\nb", "a\r\nX: y", "~" * 256])
def test_a_text_that_is_no_key_is_not_sent(
    front: Front, fronted_client: OrderClient, key: str
) -> None:
    with pytest.raises(ValueError, match="key: expected 1 to 255 characters of printable ASCII"):
        fronted_client.create("c", "i", 1, key)
    assert front.requests == []


def test_a_list_iterates_over_all_pages_with_the_newest_order_first(client: OrderClient) -> None:
    name = customer()
    made = [client.create(name, f"item-{number}", 1) for number in range(7)]
    listed = client.list(name, page_orders=3)
    assert next(listed) == made[-1]
    client.create(name, "later", 1)
    assert list(listed) == made[-2::-1]


CREATED = {"order_id": "1", "customer_id": "c", "item_id": "i", "quantity": 1, "status": "created"}


@pytest.mark.parametrize(
    ("member", "value"),
    [("customer_id", "c2"), ("item_id", "I"), ("quantity", 2), ("quantity", True)],
)
def test_an_order_that_was_not_asked_for_is_a_lost_answer(
    front: Front, fronted_client: OrderClient, member: str, value: object
) -> None:
    """For instance, a proxy may mix up the answers of two requests."""
    name = customer()
    other = CREATED | {"customer_id": name, member: value}
    front.answers = {1: said(201, json.dumps(other).encode())}
    order = fronted_client.create(name, "i", 1)
    assert (order.customer_id, order.item_id, order.quantity) == (name, "i", 1)
    assert len(set(keys(front))) == 1
    assert order.replayed


def test_another_order_than_the_one_asked_for_is_not_shown(
    front: Front, fronted_client: OrderClient
) -> None:
    name = customer()
    made = fronted_client.create(name, "i", 1)
    other = json.dumps(CREATED).encode()
    spoiled = {2: said(200, other), 4: said(200, b'{"next_cursor":null,"orders":[' + other + b"]}")}
    front.answers = dict(spoiled)
    assert fronted_client.get(made.order_id) == made
    assert list(fronted_client.list(name)) == [made]
    assert len(front.requests) == 5


@pytest.mark.parametrize("cursor", [1, ["x"], "x" * 100_000, "a b\n", "\ud83d"])
def test_a_cursor_that_cannot_be_sent_is_a_lost_answer(
    front: Front, fronted_client: OrderClient, cursor: object
) -> None:
    name = customer()
    made = fronted_client.create(name, "i", 1)
    front.answers = {2: said(200, json.dumps({"orders": [], "next_cursor": cursor}).encode())}
    assert list(fronted_client.list(name)) == [made]
    assert "cursor" not in front.requests[2][1]


def test_a_key_of_another_payload_raises_key_reused_with_the_problem_document(
    client: OrderClient,
) -> None:
    name, key = customer(), new_key()
    client.create(name, "item1", 1, key)
    with pytest.raises(KeyReused) as caught:
        client.create(name, "item1", 2, key)
    assert (caught.value.status, caught.value.key) == (409, key)
    assert caught.value.problem["type"] == "/problems/idempotency-key-reused"
    assert caught.value.key_action == "rotate"


def test_a_refused_payload_names_its_fields_and_the_key_can_be_used_again(
    client: OrderClient,
) -> None:
    name = customer()
    with pytest.raises(ValidationFailed, match="quantity") as caught:
        client.create(name, "item1", 0)
    assert list(caught.value.errors) == ["quantity"]
    assert caught.value.key_action == "reuse"
    assert caught.value.key is not None
    mended = client.create(name, "item1", 1, key=caught.value.key)
    assert list(client.list(name)) == [mended]


@pytest.mark.parametrize(
    "order_id", ["01a20370-dfcc-7cad-8273-5e2c37135386", "", ".", "..", "a/b", "?", "é", "%2e"]
)
def test_an_order_that_does_not_exist_is_not_found(client: OrderClient, order_id: str) -> None:
    with pytest.raises(NotFound) as caught:
        client.get(order_id)
    assert caught.value.key_action == "none"


@pytest.mark.parametrize(
    "url",
    ["", "orders.example.com", "ftp://x", "http://", "http://a:b@x", "http://x/?a", "http://x#a",
     "http://x?", "http://a..b", "http://x:port"],
)  # fmt: skip
def test_a_text_that_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        OrderClient(url)


@pytest.mark.parametrize("limits", [{"deadline_s": 0}, {"attempt_s": -1}, {"deadline_s": 1e999}])
def test_limits_that_are_not_finite_and_positive_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="deadline_s and attempt_s"):
        OrderClient("http://127.0.0.1", **limits)  # type: ignore[arg-type]  # mypy knows only that the values are floats


def test_a_service_may_have_a_prefix(service: Server) -> None:
    with OrderClient(f"{service.url}/elsewhere/") as client, pytest.raises(NotFound):
        client.create("c", "i", 1)


def test_a_closed_client_sends_nothing_more(service: Server) -> None:
    with OrderClient(service.url) as client:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        client.get("x")
