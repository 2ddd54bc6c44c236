"""Too many long polls get 429 at once. Neither they nor one client prevent other requests."""

import resource
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from orderapi.app import create_app
from orderapi.errors import TooManyWaiting
from orderapi.events.feed import Feed
from orderapi.events.places import CLIENT_PLACES_MAX_SHARE, Places
from orderapi.records import PUBLIC_CLIENT, EventPage
from orderapi.server import limits
from orderapi.settings import read_settings
from orderapi.store.contract import Store
from orderapi.web.problems import RETRY_AFTER_S
from tests.support.http_messages import ask, check_problem, one_answer, order, raw_request
from tests.support.placing import place
from tests.support.running import Server, started
from tests.support.tokens import create
from tests.support.waiting import wait_until

PLACES = 8
# This is longer than any of these tests may take.
LONG_S = 30
DESCRIPTORS = 256


@contextmanager
def all_taken(
    places: Places, client_id: str = PUBLIC_CLIENT, count: int = PLACES
) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(places.taken_by(client_id))
        yield


@pytest.fixture
def places(client: FlaskClient) -> Places:
    """The places of the application of `client`."""
    places: Places = client.application.extensions["feed"].places
    places.set_maximum(PLACES)
    return places


def test_a_poll_for_which_no_place_is_free_is_refused_at_once(
    client: FlaskClient, places: Places
) -> None:
    path = f"/events?wait={LONG_S}"
    with all_taken(places):
        answer = ask(client, path)
        check_problem(answer, "rate-limited")
        assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
        assert ask(client, "/events").json == {"events": [], "next": 0}
    assert ask(client, "/events?wait=1").json == {"events": [], "next": 0}


def test_events_that_exist_need_no_place(client: FlaskClient, places: Places) -> None:
    order(client, "key-1")
    with all_taken(places):
        assert ask(client, f"/events?wait={LONG_S}").json["next"] == 1
        check_problem(ask(client, f"/events?after=1&wait={LONG_S}"), "rate-limited")


def test_a_query_that_is_not_valid_is_refused_as_such(client: FlaskClient, places: Places) -> None:
    with all_taken(places):
        check_problem(ask(client, f"/events?after=7&wait={LONG_S}"), "validation-failed")


def test_a_poll_that_ended_has_given_its_place_back(store: Store) -> None:
    """This is also true of a poll that failed or was killed. No waiting reader loses its place."""
    feed = Feed(store)
    feed.places.set_maximum(1)
    for number in range(3):
        page = EventPage(PUBLIC_CLIENT, number, 100)
        reader = threading.Thread(target=feed.read, args=(page, LONG_S))
        reader.start()
        while not feed.waiting_readers():
            reader.join(0.01)
        with pytest.raises(TooManyWaiting):
            feed.read(page, LONG_S)
        place(store, f"key-{number}")
        reader.join(LONG_S)
        assert not reader.is_alive()
    with pytest.raises(KeyboardInterrupt), feed.places.taken_by(PUBLIC_CLIENT):
        raise KeyboardInterrupt
    with feed.places.taken_by(PUBLIC_CLIENT):
        pass


def test_one_client_cannot_take_all_places(store: Store) -> None:
    app = create_app(read_settings({"ORDERAPI_AUTH": "required"}), store)
    places: Places = app.extensions["feed"].places
    places.set_maximum(PLACES)
    share = int(PLACES * CLIENT_PLACES_MAX_SHARE)
    with all_taken(places, "greedy", share):
        with pytest.raises(TooManyWaiting), places.taken_by("greedy"):
            pass
        with all_taken(places, "modest", share):
            pass
    with places.taken_by("greedy"):
        pass


def test_orders_have_connections_left_whatever_the_number_of_connections() -> None:
    for connections in (1, 2, 64, 192, 1_000, 4_000):
        assert 1 <= limits.waiting_max_readers(connections) <= max(1, connections // 2)


@pytest.mark.parametrize("auth", ["off", "required"])
def test_a_server_with_too_many_long_polls_refuses_some_and_serves_all_other_requests(
    tmp_path: Path, auth: str
) -> None:
    """It has one worker that may have 256 descriptors, as some hosts set it."""
    server = Server(tmp_path, WORKERS="1", AUTH=auth)
    descriptors = (DESCRIPTORS, DESCRIPTORS)
    with started(
        server, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
    ):
        connections_max = DESCRIPTORS - 64
        expected = limits.waiting_max_readers(connections_max)
        bearer = ""
        if auth == "required":
            expected = int(expected * CLIENT_PLACES_MAX_SHARE)
            bearer = f"Authorization: Bearer {create(server.engine, 'shop')[1]}"
        poll = raw_request("GET", f"/events?wait={LONG_S}", *filter(None, [bearer]))
        with ExitStack() as stack:
            polls = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
                for _ in range(connections_max - 10)
            ]
            for connection in polls:
                connection.sendall(poll)
            wait_until(lambda: len(answered(polls)) == len(polls) - expected)
            for connection in answered(polls):
                polls.remove(connection)
                check_problem(one_answer(connection.recv(65_536)), "rate-limited")
            other = create(server.engine, "other")[1] if bearer else "none"
            headers = {"Authorization": f"Bearer {other}"}
            assert server.request("GET", "/events?wait=1", headers=headers).status == (
                200 if bearer else 429
            )
            key = bearer.removeprefix("Authorization: ") or "none"
            for number in range(5):
                made = server.order(f"key-{number}", Authorization=key, timeout_s=10)
                assert made.status == 201
            for connection in polls:
                assert one_answer(connection.recv(65_536)).json["events"]
        assert server.stop() == 0


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    """Give the connections on which something has arrived."""
    return select.select(connections, [], [], 0)[0]
