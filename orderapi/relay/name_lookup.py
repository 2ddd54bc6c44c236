"""An event loop that looks up host names on daemon threads, so that its end never waits."""

import asyncio
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import Any


class NameLookupLoop(asyncio.SelectorEventLoop):
    """An event loop whose end does not wait for a name look-up that hangs.

    A look-up blocks its thread inside the C library, where nothing can interrupt it. asyncio runs
    look-ups on a thread pool, and both the end of the loop and the exit of the interpreter wait for
    this pool. With a name server that did not answer, this wait took 84 s. A daemon thread causes
    no such wait. An attempt that needs a name which is already being looked up waits for the same
    look-up. So look-ups that hang do not accumulate.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[tuple[object, ...], asyncio.Future[Any]] = {}

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> Any:
        """See `asyncio.loop.getaddrinfo` for the arguments, the result and the exceptions."""
        question = (host, port, *sorted(hints.items()))
        lookup = self._lookups.get(question)
        if lookup is None:
            lookup = self._lookups[question] = self.create_future()
            lookup.add_done_callback(lambda _: self._lookups.pop(question, None))
            # An attempt that has timed out does not read the result.
            lookup.add_done_callback(lambda done: done.cancelled() or done.exception())
            threading.Thread(
                target=self._look_up,
                args=(lookup, host, port, hints),
                name="name look-up",
                daemon=True,
            ).start()
        return await asyncio.shield(lookup)

    def _look_up(
        self, lookup: "asyncio.Future[Any]", host: Any, port: Any, hints: dict[str, int]
    ) -> None:
        try:
            finish = partial(lookup.set_result, socket.getaddrinfo(host, port, **hints))
        except Exception as error:  # the attempt that waits raises it
            finish = partial(lookup.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed, and nothing needs the result
            self.call_soon_threadsafe(finish)
