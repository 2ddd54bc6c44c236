"""The client sends the token to the service, and shows it nowhere."""

import logging
import traceback

import pytest

from orderapi.client import Forbidden, OrderClient, OrderClientError, Refused, Unauthorized
from tests.support.client_answers import Always, customer, problem, said
from tests.support.front import Front
from tests.support.rude_server import socket_server

TOKEN = "token-that-nobody-may-see"


def test_the_token_is_sent_with_every_request(front: Front) -> None:
    with OrderClient(front.url, TOKEN) as client:
        order = client.create(customer(), "item1", 1)
        client.get(order.order_id)
    assert {headers["Authorization"] for _, _, headers in front.requests} == {f"Bearer {TOKEN}"}


def test_without_a_token_none_is_sent(front: Front, fronted_client: OrderClient) -> None:
    fronted_client.create(customer(), "item1", 1)
    assert "Authorization" not in front.requests[0][2]


def test_no_log_repr_or_failure_has_the_token(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    """This also holds if the server sends the token back."""
    caplog.set_level(logging.DEBUG)
    shown = []
    echoed = {"detail": f"Bearer {TOKEN}?", "errors": {"x": [TOKEN, {"y": TOKEN}]}}
    for tamper in (problem(401, **echoed), problem(503, **echoed), said(302, location="/x")):
        front.answers = Always(tamper)
        with OrderClient(front.url, TOKEN, wait=False) as client:
            with pytest.raises(OrderClientError) as caught:
                client.create(customer(), "item1", 1)
            shown += ["".join(traceback.format_exception(caught.value)), str(caught.value.problem)]
            shown += [repr(caught.value), repr(client), repr(vars(client))]
            shown += [repr(vars(value)) for value in vars(client).values()]
    assert TOKEN not in "".join(shown)
    assert "[token]" in "".join(shown)
    assert caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
def test_a_token_that_is_refused_differs_from_a_token_without_the_scope(
    front: Front, status: int, kind: type[Refused]
) -> None:
    front.answers = {1: problem(status, retryable=False, key_action="none")}
    with OrderClient(front.url, TOKEN) as client, pytest.raises(Refused) as caught:
        client.get("x")
    assert type(caught.value) is kind
    assert caught.value.key_action == "none"


@pytest.mark.parametrize("token", ["", f"{TOKEN}\n", f" {TOKEN}", f"{TOKEN}é", TOKEN * 1000])
def test_a_text_that_is_no_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValueError, match="token: expected") as caught:
        OrderClient("http://127.0.0.1", token)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_an_answer_that_is_not_http_does_not_show_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The message of such a failure quotes what the server sent."""
    caplog.set_level(logging.INFO)
    with (
        socket_server(lambda connection: connection.sendall(TOKEN.encode() + b"\r\n\r\n")) as url,
        OrderClient(url, TOKEN, deadline_s=20, wait=False) as client,
        pytest.raises(OrderClientError) as caught,
    ):
        client.get("x")
    assert "[token]" in caplog.text
    assert TOKEN not in caplog.text + "".join(traceback.format_exception(caught.value))
