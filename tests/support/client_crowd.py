"""Many clients at once, over real connections."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.running import Answer, Server
from tests.support.waiting import awake_s

# The contract promises an answer within this time, whatever has happened to the store.
ANSWERED_WITHIN_S = 10.0


@dataclass
class Sent:
    """The answer to one request, and after how many seconds it arrived."""

    key: str
    answer: Answer
    seconds: float


@dataclass
class Crowd:
    """Clients in threads. Each of them calls `send(key)` with `count` keys of its own."""

    send: Callable[[str], Answer]
    clients: int
    prefix: str
    count: int = 1
    sent: list[Sent] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def start(self) -> "Crowd":
        self.threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(self.clients)
        ]
        for thread in self.threads:
            thread.start()
        return self

    def _run(self, number: int) -> None:
        for turn in range(self.count):
            key = f"{self.prefix}-{number}-{turn}"
            started = awake_s()
            try:
                answer = self.send(key)
            except BaseException as error:
                self.errors.append(error)
            else:
                self.sent.append(Sent(key, answer, awake_s() - started))

    def join(self, timeout_s: float = 60.0) -> "Crowd":
        """Wait for all clients, and assert that each answer came in time and was a 201 or a 503."""
        give_up_at = awake_s() + timeout_s
        for thread in self.threads:
            thread.join(max(0.0, give_up_at - awake_s()))
        assert self.errors == []
        assert len(self.sent) == self.clients * self.count
        for sent in self.sent:
            assert_created_or_unavailable(sent.answer)
        assert max(sent.seconds for sent in self.sent) <= ANSWERED_WITHIN_S
        return self

    @property
    def created(self) -> dict[str, bytes]:
        return {sent.key: sent.answer.body for sent in self.sent if sent.answer.status == 201}

    @property
    def refused(self) -> list[str]:
        return [sent.key for sent in self.sent if sent.answer.status == 503]


def assert_created_or_unavailable(answer: Answer) -> None:
    if answer.status == 201:
        return
    assert answer.status == 503, answer
    assert answer.json["type"] == "/problems/store-unavailable"
    assert answer.json["retryable"] is True
    assert answer.json["key_action"] == "reuse"
    assert int(answer.headers["retry-after"]) >= 1


def retried(server: Server, keys: list[str]) -> dict[str, bytes]:
    """Retry keys one after another until each gets 201. Gives the bodies of the answers by key.

    A store that works again may still refuse some requests, but not longer than the promised time.
    """
    bodies = {}
    give_up_at = awake_s() + ANSWERED_WITHIN_S
    for key in keys:
        while (answer := server.order(key)).status != 201:
            assert_created_or_unavailable(answer)
            assert awake_s() < give_up_at
            time.sleep(0.1)
        bodies[key] = answer.body
    return bodies


def assert_reads_go_on(server: Server, key: str, body: bytes, location: str) -> None:
    """Assert that a replay, a conflict, an order and a list are answered in time."""
    started = awake_s()
    replay = server.order(key)
    assert (replay.status, replay.body) == (201, body)
    assert replay.headers["idempotent-replayed"] == "true"
    other = {"customer_id": "cust1", "item_id": "item1", "quantity": 2}
    assert server.order(key, other).status == 409
    shown = server.request("GET", location)
    assert (shown.status, shown.body) == (200, body)
    assert server.request("GET", "/orders?limit=5").status == 200
    assert server.request("GET", "/healthz").status == 200
    assert awake_s() - started <= ANSWERED_WITHIN_S
