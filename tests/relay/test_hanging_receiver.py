"""A receiver that hangs delays neither the service nor a stop of the relay."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.client_crowd import Crowd
from tests.support.engines import Engine
from tests.support.relay_receiver import ORDERAPI, position, receiving, relaying
from tests.support.running import Server
from tests.support.waiting import wait_until


def test_orders_and_reads_do_not_notice_a_receiver_that_hangs(server: Server) -> None:
    with receiving() as receiver:
        receiver.behave = lambda _: receiver.silence()
        with relaying(server.engine, receiver.url, command=ORDERAPI) as relay:
            server.order("first")
            wait_until(lambda: len(receiver.arrivals) == 1)
            crowd = Crowd(server.order, 8, "meanwhile", count=25).start().join()
            assert crowd.refused == []
            events = server.request("GET", "/events?limit=1000").json["events"]
            assert len(events) == 201
            wait_until(lambda: server.request("GET", "/readyz").status == 200)
            # The relay is still in its first attempt.
            assert relay.is_running()
            assert len(receiver.arrivals) == 1
            assert position(server.engine) == 0


def test_a_lease_is_renewed_while_a_receiver_hangs(backlog: Engine) -> None:
    def expires_ms() -> int:
        return int(backlog.query("SELECT expires_ms FROM leases")[0][0])

    with receiving() as receiver:
        receiver.behave = lambda _: receiver.silence()
        with relaying(backlog, receiver.url, command=ORDERAPI):
            wait_until(lambda: len(receiver.arrivals) == 1)
            for _ in range(2):
                before = expires_ms()
                wait_until(lambda: expires_ms() > before)  # noqa: B023 - called at once
            # The relay is still in its first attempt, and so it is the thread that has renewed.
            assert len(receiver.arrivals) == 1
            assert position(backlog) == 0


@contextmanager
def hanging(kind: str) -> Iterator[str]:
    """Give the URL of a receiver at which an attempt hangs in one phase."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        host = "receiver.example" if kind == "name look-up" else "127.0.0.1"
        scheme = "https" if kind == "TLS handshake" else "http"
        with ExitStack() as connections:
            if kind == "connect":
                # The queue of the listener is full, so the system answers no further SYN.
                for _ in range(3):
                    waiting = connections.enter_context(socket.socket())
                    waiting.setblocking(False)
                    waiting.connect_ex(address)
            yield f"{scheme}://{host}:{address[1]}"


# The look-up in the C library blocks far longer than the test waits.
HANGING_LOOKUP = (
    sys.executable,
    "-c",
    "import socket, sys, time\n"
    "socket.getaddrinfo = lambda *_a, **_k: time.sleep(600)\n"
    "from tests.support.impatient_relay import main\n"
    "sys.exit(main())\n",
)


@pytest.mark.parametrize("kind", ["name look-up", "connect", "TLS handshake", "answer"])
def test_a_stop_ends_the_relay_wherever_an_attempt_hangs(backlog: Engine, kind: str) -> None:
    with (
        hanging(kind) as url,
        relaying(backlog, url, "--total", "0.5", command=HANGING_LOOKUP) as relay,
    ):
        relay.wait_for_log("was not delivered")
        assert relay.process is not None
        relay.process.send_signal(signal.SIGTERM)
        assert relay.wait() == 0
        assert position(backlog) == 0


def test_attempts_share_a_name_look_up_that_hangs(backlog: Engine) -> None:
    with (
        hanging("name look-up") as url,
        relaying(
            backlog, url, "--total", "0.1", command=HANGING_LOOKUP, ORDERAPI_LOG_LEVEL="debug"
        ) as relay,
    ):
        relay.wait_for_log("was not delivered", times=5)
        assert relay.process is not None
        threads = Path(f"/proc/{relay.process.pid}/task")
        assert sum("name look-up" in (t / "comm").read_text() for t in threads.iterdir()) <= 1
        # Four more threads run the relay, its log, its writes, and the renewal of its lease.
        assert len(list(threads.iterdir())) < 6
