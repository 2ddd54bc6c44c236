"""Clients that place orders and never retry: `load.py HOST:PORT FILE`, until stdin ends.

The first line of stdin is the token of the clients, or it is empty.
FILE gets a line with key and order id for each acknowledged order. stdout gets the counts as JSON.
The program runs inside another network namespace, so it needs nothing but Python.
"""

import http.client
import json
import sys
import threading
import time
import uuid
from collections import Counter
from typing import TextIO

CLIENTS = 16
# The time in which the service must answer, and the time of a start in between.
TIMEOUT_S = 30.0
PAUSE_S = 0.002


class Client(threading.Thread):
    """A client that places one order after the other, and reads every tenth of them."""

    def __init__(
        self, address: str, token: str, acknowledged: TextIO, has_ended: threading.Event
    ) -> None:
        super().__init__()
        self.outcomes: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._address = address
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self._acknowledged = acknowledged
        self._has_ended = has_ended

    def run(self) -> None:
        number = 0
        while not self._has_ended.wait(PAUSE_S):
            number += 1
            order_id = self._order()
            if order_id is not None and number % 10 == 0:
                self._ask("GET", f"/orders/{order_id}", 200)

    def _order(self) -> str | None:
        key = str(uuid.uuid4())
        order = {"customer_id": "load", "item_id": key, "quantity": 1}
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        body = self._ask("POST", "/orders", 201, json.dumps(order), headers)
        if body is None:
            return None
        order_id = str(json.loads(body)["order_id"])
        self._acknowledged.write(f"{key} {order_id}\n")
        return order_id

    def _ask(
        self,
        method: str,
        path: str,
        expected: int,
        body: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes | None:
        started_at = time.monotonic()
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, self._authorization | (headers or {}))
            response = connection.getresponse()
            content = response.read()
            outcome = "answered" if response.status == expected else f"{method} {response.status}"
        except (OSError, http.client.HTTPException) as error:
            content, outcome = b"", f"{method} {type(error).__name__}"
        finally:
            connection.close()
        self.slowest_s = max(self.slowest_s, time.monotonic() - started_at)
        self.outcomes[outcome] += 1
        return content if outcome == "answered" else None


def main() -> None:
    address, path = sys.argv[1:]
    token = sys.stdin.readline().strip()
    has_ended = threading.Event()
    with open(path, "a", encoding="ascii", buffering=1) as acknowledged:  # noqa: PTH123
        clients = [Client(address, token, acknowledged, has_ended) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        sys.stdin.read()
        has_ended.set()
        for client in clients:
            client.join()
    outcomes = sum((client.outcomes for client in clients), Counter[str]())
    answered = outcomes.pop("answered", 0)
    slowest_s = max(client.slowest_s for client in clients)
    report = {"answered": answered, "failed": outcomes, "slowest_s": round(slowest_s, 2)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
