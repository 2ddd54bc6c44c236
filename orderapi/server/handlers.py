"""The greenlets in which requests are handled; each is kept for further requests.

Python maps memory for the stack of a new greenlet, and unmaps it at its end. On a busy machine, a
new greenlet took 20 us and a kept one 3 us.
"""

from collections.abc import Callable
from contextvars import Context
from typing import Any

from greenlet import getcurrent, greenlet

# More are made when more requests wait at once. Those beyond this number end with their request.
_KEPT_MAX = 256


class Handlers:
    """Runs `handle` for each request in a greenlet of which no other request is a part.

    `hub` is gevent's, which runs the event loop.
    """

    def __init__(self, hub: Any, handle: Callable[[Any], None]) -> None:
        self._hub = hub
        self._handle = handle
        self._kept: list[greenlet] = []

    def run(self, request: Any) -> None:
        """Let a request be handled in its turn: when the event loop has read what has arrived."""
        if self._kept:
            free = self._kept.pop()
            # Nothing of the request before it: no request id, and no context of Flask's.
            free.gr_context = Context()
        else:
            free = greenlet(self._serve, self._hub)
        self._hub.loop.run_callback(free.switch, request)

    def _serve(self, request: Any) -> None:
        self._handle(request)
        this = getcurrent()
        while len(self._kept) < _KEPT_MAX:
            self._kept.append(this)
            self._handle(self._hub.switch())
