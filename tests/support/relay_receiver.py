"""A real receiver, which fails as a test tells it, and the relay as a process."""

import itertools
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from orderapi.store.open import open_store
from tests.support.engines import Engine, engine_of
from tests.support.placing import place
from tests.support.running import REPOSITORY
from tests.support.waiting import wait_for_text

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORDERAPI = (str(Path(sys.executable).parent / "orderapi"), "relay")
# The same relay with short pauses and limits.
IMPATIENT = (sys.executable, "-m", "tests.support.impatient_relay")


@dataclass(frozen=True)
class Arrival:
    """A complete request with a valid signature."""

    headers: Mapping[str, str]
    event: dict[str, Any]
    was_taken: bool

    @property
    def sequence(self) -> int:
        return int(self.event["sequence"])


# How to answer a request that has been recorded.
Behaviour = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with a status; underscores in header names stand for hyphens."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def reset_after(data: bytes) -> Behaviour:
    """Answer with these bytes alone, and then reset the connection."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        # SO_LINGER with 0 s: closing sends RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        handler.close_connection = True

    return behave


TAKE = status(204)
RESET_MID_BODY = reset_after(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


class Receiver:
    """An HTTP server that verifies requests. `behave(number)` answers the request of that number.

    `refused` counts requests whose signature or form was wrong.
    """

    def __init__(self, behave: Callable[[int], Behaviour] = lambda _: TAKE) -> None:
        self.behave = behave
        self.arrivals: list[Arrival] = []
        self.refused: list[str] = []
        self.connections = 0
        # Set at the end of the test. Each answer that has no end stops then.
        self.is_over = threading.Event()
        self.url = ""
        self._numbers = itertools.count(1)
        self._mutex = threading.Lock()
        self._webhook = Webhook(SECRET)

    def silence(self, head: bytes = b"", drop: bytes = b"") -> Behaviour:
        """Answer with `head`, then repeat `drop`, and never end the answer."""

        def behave(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(head)
            while not self.is_over.wait(0.05):
                handler.wfile.write(drop)
            handler.close_connection = True

        return behave

    def note(self, headers: Mapping[str, str], body: bytes, behaviour: Behaviour) -> bool:
        try:
            self._webhook.verify(body, dict(headers), json_parse=False)
            event = json.loads(body)
            assert headers["content-type"] == "application/cloudevents+json"
            assert event["id"] == headers["webhook-id"]
        except Exception as error:
            self.refused.append(repr(error))
            return False
        self.arrivals.append(Arrival(headers, event, behaviour is TAKE))
        return True

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers["Content-Length"])
        body = handler.rfile.read(length)
        if len(body) < length:  # a kill cut it short, so it never arrived
            handler.close_connection = True
            return
        headers = {name.lower(): value for name, value in handler.headers.items()}
        # One thread at a time, so that requests are recorded in the order of their arrival.
        with self._mutex:
            behaviour = self.behave(next(self._numbers))
            is_right = self.note(headers, body, behaviour)
        (behaviour if is_right else status(401))(handler)

    def sequences(self) -> list[int]:
        return [arrival.sequence for arrival in self.arrivals]

    def taken(self) -> list[int]:
        return [arrival.sequence for arrival in self.arrivals if arrival.was_taken]


@contextmanager
def receiving(
    behave: Callable[[int], Behaviour] = lambda _: TAKE, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    receiver = Receiver(behave)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            receiver.connections += 1
            super().setup()

        def do_POST(self) -> None:
            receiver.handle(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            # A relay was killed, or gave up, in the middle of a request.
            pass

    with Server(("127.0.0.1", 0), Handler) as http_server:
        scheme = "http"
        if tls is not None:
            scheme = "https"
            # The handshake happens at the first read, on the thread of the connection.
            http_server.socket = tls.wrap_socket(
                http_server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=http_server.serve_forever, args=(0.02,))
        thread.start()
        receiver.url = f"{scheme}://127.0.0.1:{http_server.server_address[1]}"
        try:
            yield receiver
        finally:
            receiver.is_over.set()
            http_server.shutdown()
            thread.join()


class RelayProcess:
    """One relay on a database, which delivers to `url`. Its log is kept across restarts."""

    def __init__(
        self, database: Path | Engine, url: str, command: Iterable[str] = IMPATIENT, **environ: str
    ) -> None:
        self.engine = engine_of(database)
        self.command = list(command)
        self.log_path = self.engine.directory / f"relay-{os.urandom(4).hex()}.log"
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("ORDERAPI_")} | {
            "ORDERAPI_DATABASE_URL": self.engine.url_text,
            "ORDERAPI_WEBHOOK_URL": url,
            "ORDERAPI_WEBHOOK_SECRET": SECRET,
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> "RelayProcess":
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=REPOSITORY,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        return self

    def run(self, *arguments: str) -> int:
        """Run it to its end and return its exit code."""
        return self.start(*arguments).wait()

    def wait(self, timeout_s: float = 60.0) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Stop it as systemd does, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until the log contains `text` at least this number of times."""
        wait_for_text(self.log_path, text, times)

    def log(self) -> str:
        return self.log_path.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines()]


@contextmanager
def relaying(
    database: Path | Engine,
    url: str,
    *arguments: str,
    command: Iterable[str] = IMPATIENT,
    **environ: str,
) -> Iterator[RelayProcess]:
    """Run a relay until the block ends."""
    relay = RelayProcess(database, url, command, **environ).start(*arguments)
    try:
        yield relay
    finally:
        relay.kill()


def filled(engine: Engine, events: int) -> Engine:
    """Make the tables of an engine with this number of events, which no process serves."""
    with closing(open_store(engine.url)) as store:
        store.prepare()
        for number in range(events):
            place(store, f"key-{number}")
    return engine


def position(database: Path | Engine) -> int:
    return int(engine_of(database).query("SELECT sequence FROM relay_position")[0][0])
