"""Ports of this machine that servers of tests listen on."""

import os
import random
import socket
from collections import deque
from contextlib import suppress

_ports_given: deque[int] = deque(maxlen=500)


def free_port() -> int:
    """Give a port where nobody listens, below those that outgoing connections are given.

    Processes that run tests side by side draw from different ones, and none twice soon.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.SystemRandom().randrange(10_000 + process % 16, 32_000, 16)
        if port in _ports_given:
            continue
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            _ports_given.append(port)
            return port
