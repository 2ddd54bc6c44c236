"""Clients that keep their connections open while the server replaces its workers or stops."""

import http.client
import json
import select
import threading
import time
from dataclasses import dataclass, field

from tests.support.running import ORDER, Answer, Server, answer_of


@dataclass
class KeptClient:
    """A client that sends one order after another over one connection, until it is stopped.

    If the server has announced that it closes the connection, or has closed it while it was idle,
    the client opens another one, as every client does. The key of a failed order is noted in
    `failed_kept` if the connection had answered before, and otherwise in `failed_new`.
    """

    server: Server
    name: str
    pause_s: float = 0.0
    created: dict[str, bytes] = field(default_factory=dict)
    failed_kept: list[str] = field(default_factory=list)
    failed_new: list[str] = field(default_factory=list)
    surprises: list[Answer] = field(default_factory=list)
    connections: int = 0

    def start(self) -> "KeptClient":
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def stop(self) -> None:
        self.is_over.set()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        turn = 0
        while not self.is_over.is_set():
            key = f"{self.name}-{turn}"
            if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
                connection.close()
            is_new = connection.sock is None
            self.connections += is_new
            try:
                self._send(connection, key)
            except (OSError, http.client.HTTPException):
                (self.failed_new if is_new else self.failed_kept).append(key)
                connection.close()
                time.sleep(0.02)
            turn += 1
            self.is_over.wait(self.pause_s)
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, key: str) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        connection.request("POST", "/orders", json.dumps(ORDER), headers)
        answer = answer_of(connection.getresponse())
        if answer.status == 201:
            self.created[key] = answer.body
        else:
            self.surprises.append(answer)


def all_created(clients: list[KeptClient]) -> dict[str, bytes]:
    """Assert that each answer was 201, and return the orders by key."""
    made: dict[str, bytes] = {}
    for client in clients:
        assert client.surprises == []
        made |= client.created
    return made
