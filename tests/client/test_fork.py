"""A client belongs to the process that made it: two processes never read each other's answers."""

import os
import traceback
from collections.abc import Callable

import pytest

from orderapi.client import OrderClient
from tests.support.client_answers import customer
from tests.support.front import Front
from tests.support.raw_server import raw_server
from tests.support.running import Server

CALLS: dict[str, Callable[[OrderClient], object]] = {
    "create": lambda client: client.create("c", "i", 1),
    "get": lambda client: client.get("x"),
    "list": lambda client: next(client.list()),
    "events": lambda client: next(client.events()),
}


def in_a_fork(act: Callable[[], None]) -> int:
    """Run `act` in a forked process, and return its exit code, which is 1 if `act` raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_forked_process_cannot_use_the_client(call: Callable[[OrderClient], object]) -> None:
    with raw_server() as server, OrderClient(server.url) as client:

        def use() -> None:
            with pytest.raises(RuntimeError, match="make a client after the fork"):
                call(client)

        assert in_a_fork(use) == 0
        assert server.requests == []


def test_a_forked_process_cannot_continue_a_feed_that_it_inherited(service: Server) -> None:
    with OrderClient(service.url) as client:
        client.create(customer(), "i", 1)
        client.create(customer(), "i", 1)
        events = client.events(follow=False)
        next(events)

        def use() -> None:
            with pytest.raises(RuntimeError, match="make a client after the fork"):
                list(events)

        assert in_a_fork(use) == 0
        assert len(list(events)) >= 1


def test_a_forked_process_may_end_the_block_and_leaves_the_connections_open(
    front: Front,
) -> None:
    with OrderClient(front.url) as client:
        order = client.create(customer(), "i", 1)
        assert in_a_fork(client.close) == 0
        assert client.get(order.order_id) == order


def test_a_client_that_is_made_after_the_fork_works(service: Server) -> None:
    def use() -> None:
        with OrderClient(service.url) as client:
            client.create(customer(), "i", 1)

    assert in_a_fork(use) == 0
