"""One host: a process in which many clients place orders, each of them one after the other.

`python -m tests.bench.postgres.host CONTENDER URL CLIENTS ROUND_TRIP_MS NAME` places one order for
each client, and writes a line. Then it reads when the window begins and ends, as times of
`time.monotonic()`. The load begins at once, and ends with the window. What was measured in the
window is written as one line of JSON.
"""

from gevent import monkey

# gevent must patch before anything else is imported, as in the server.
monkey.patch_all()

import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import gevent

from orderapi import idempotency
from orderapi.records import PUBLIC_CLIENT, Claim, NewOrder
from tests.bench.postgres.contenders import OPENERS, Place
from tests.bench.postgres.round_trip import set_far

# The customers take turns. The stride is a prime number, so that orders that follow each other are
# not beside each other in an index.
_CUSTOMERS = 1000
_STRIDE = 617


@dataclass
class _Counted:
    """What one host has seen: all orders, and the latency of those that ended in the window."""

    all: int = 0
    latencies_us: list[int] = field(default_factory=list)


class _Client:
    """Places orders one after the other. `number` is that of no other client of any host."""

    def __init__(self, place: Place, name: str, counted: _Counted) -> None:
        self._place = place
        self._name = name
        self._counted = counted
        self._placed = 0

    def place_one(self) -> None:
        """Place the next order."""
        self._placed += 1
        customer = f"cust{self._placed * _STRIDE % _CUSTOMERS}"
        claim = Claim(PUBLIC_CLIENT, f"{self._name}-{self._placed}", _FINGERPRINTS[customer])
        self._place(claim, NewOrder(PUBLIC_CLIENT, customer, "item1", 1))
        self._counted.all += 1

    def place_until(self, begin: float, end: float) -> None:
        """Place orders until `end`, and note those that end between `begin` and `end`."""
        began_at = time.monotonic()
        while began_at < end:
            self.place_one()
            ended_at = time.monotonic()
            if begin <= ended_at < end:
                self._counted.latencies_us.append(round((ended_at - began_at) * 1e6))
            began_at = ended_at


_FINGERPRINTS = {
    f"cust{number}": idempotency.fingerprint(
        "POST", "/orders", {"customer_id": f"cust{number}", "item_id": "item1", "quantity": 1}
    )
    for number in range(_CUSTOMERS)
}


def main() -> None:
    """Run the host that the command line describes."""
    contender, url, clients, round_trip_ms, name = sys.argv[1:]
    set_far(float(round_trip_ms) / 1000)
    place = OPENERS[contender](url)
    counted = _Counted()
    crowd = [_Client(place, f"{name}-{number}", counted) for number in range(int(clients))]
    _wait_for([gevent.spawn(client.place_one) for client in crowd])
    print("ready", flush=True)
    times = json.loads(sys.stdin.readline())
    cpu = gevent.spawn(_cpu_between, times["begin"], times["end"])
    _wait_for([cpu, *(gevent.spawn(c.place_until, times["begin"], times["end"]) for c in crowd)])
    result = {"all": counted.all, "latencies_us": counted.latencies_us, "cpu_s": cpu.value}
    print(json.dumps(result), flush=True)


def _wait_for(greenlets: list[Any]) -> None:
    gevent.joinall(greenlets, raise_error=True)


def _cpu_between(begin: float, end: float) -> float:
    """Return how much processor time this process uses between two times, in seconds."""
    time.sleep(max(0.0, begin - time.monotonic()))
    used_s = -time.process_time()
    time.sleep(max(0.0, end - time.monotonic()))
    return used_s + time.process_time()


if __name__ == "__main__":
    main()
