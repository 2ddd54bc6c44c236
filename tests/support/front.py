"""A server that changes requests to a right server and its answers, and runs of `verify`."""

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from click.testing import CliRunner, Result

from orderapi.cli.commands import main
from orderapi.ops.target import ServerAnswer
from tests.support.running import Server

ROWS = ("rows of order 1", "rows of order 2")
STEPS = tuple(f"step {number}" for number in range(1, 7))

# The requests of a run, in order.
CREATE, RETRY, RETRY_LIST, CONFLICT, CONFLICT_LIST, FAIL, FAIL_LIST = range(1, 8)
SECOND_RETRY, SECOND_RETRY_LIST, SHOW, SHOW_LIST = range(8, 12)

Tamper = Callable[[ServerAnswer], ServerAnswer]


def run(
    *arguments: str, command: str = "verify", stdin: str | None = None, **settings: str
) -> Result:
    """Run a command with these settings and no others."""
    environ: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("ORDERAPI_")
    }
    environ |= {f"ORDERAPI_{name}": value for name, value in settings.items()}
    return CliRunner().invoke(main, [command, *arguments], input=stdin, env=environ)


def verdicts(result: Result) -> dict[str, str]:
    """Return the verdict of each step by its name."""
    found = re.findall(r"^(ok|FAILED|skipped) +(step \d|rows of order \d)", result.stdout, re.M)
    return {name: verdict for verdict, name in found}


def line(result: Result, name: str) -> str:
    """Return the only line about a step."""
    (found,) = re.findall(rf"^(?:ok|FAILED|skipped) +{name}\b.*$", result.stdout, re.M)
    return str(found)


@dataclass
class Front:
    """A server in front of a right server. It changes requests and answers.

    Each of these maps the number of a request to a change. `answers` changes the answer, and `keys`
    replaces the key of the request. A function in `commits` runs after the right server's answer.
    """

    behind: Server
    answers: dict[int, Tamper] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    commits: dict[int, Callable[[ServerAnswer], None]] = field(default_factory=dict)
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    url: str = ""

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> ServerAnswer:
        self.requests.append((method, path, headers))
        number = len(self.requests)
        sent = headers | ({"Idempotency-Key": self.keys[number]} if number in self.keys else {})
        received = self.behind.request(method, path, body or None, sent)
        answer = ServerAnswer(received.status, received.headers, received.body)
        if number in self.commits:
            self.commits[number](answer)
        return self.answers[number](answer) if number in self.answers else answer


@contextmanager
def fronted(behind: Server) -> Iterator[Front]:
    front = Front(behind)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer = front.handle(self.command, self.path, dict(self.headers), body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name not in ("content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, args=(0.02,))
        thread.start()
        front.url = f"http://127.0.0.1:{http_server.server_address[1]}"
        try:
            yield front
        finally:
            http_server.shutdown()
            thread.join()


def body(text: bytes) -> Tamper:
    """Replace the right body."""
    return lambda answer: replace(answer, body=text)
