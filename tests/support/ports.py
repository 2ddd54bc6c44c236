"""Ports of this machine that servers of tests listen on."""

import os
import random
import socket
from collections import deque
from contextlib import suppress

_ports_given: deque[int] = deque(maxlen=500)


def free_port() -> int:
    """Give a free port, below the ports that the system chooses for outgoing connections.

    Processes that run tests at the same time choose from different ports. A process does not choose
    one of its last 500 ports.
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
