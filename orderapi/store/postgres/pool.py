"""A few connections that one process shares, with a limit on every wait for one."""

import os
import threading
import time
from collections.abc import Callable

from orderapi.errors import StoreUnavailable
from orderapi.store.postgres.connection import Connection
from orderapi.store.postgres.session import is_lasting

# The pause before a server that could not be reached is tried again.
RETRY_PAUSE_S = 0.2
# The reason of a request that got no connection.
_NONE_FREE = "no connection to the server was open and free by the deadline"


class Pool:
    """At most `connections_max` connections, which `open_one` opens when they are needed.

    `open_one` raises StoreUnavailable. It may take long, because a name must be looked up and
    several hosts may be silent. Therefore it runs on a thread of its own, and a request
    waits for a connection until its deadline at most. A connection that is opened later is kept.
    """

    def __init__(self, open_one: Callable[[], Connection], connections_max: int) -> None:
        self._open_one = open_one
        self._connections_max = connections_max
        self._changed = threading.Condition()
        # The last one in the list was used last.
        self._idle: list[Connection] = []
        # How many connections are open or being opened, and how many of them are being opened.
        self._open = 0
        self._opening = 0
        # Why the last attempt to open one has failed, and how many have failed.
        self._failure: StoreUnavailable | None = None
        self._failures = 0
        self._has_opened = False
        self._is_closed = False
        self._pid: int | None = None

    def take(self, deadline: float) -> Connection:
        """Return a connection that is not in use.

        Raises StoreUnavailable if there is none by the deadline, or at once if no connection can be
        opened and a retry cannot help. A process that has never opened one does not retry.
        """
        self._refuse_other_process()
        with self._changed:
            failures = self._failures
            while not self._idle:
                if self._failure and self._failures > failures and self._is_final(self._failure):
                    raise self._failure.copy()
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    raise (self._failure or StoreUnavailable(_NONE_FREE)).copy()
                if not self._opening and self._open < self._connections_max:
                    self._start_opening()
                self._changed.wait(remaining_s)
            return self._idle.pop()

    def put_back(self, connection: Connection) -> None:
        """Let others use a connection. It is discarded if it is broken."""
        with self._changed:
            if connection.closed or self._is_closed:
                self._discard(connection)
            else:
                self._idle.append(connection)
            self._changed.notify()

    def discard_idle(self) -> None:
        """Discard the connections that are not in use: their server has ended, or has changed."""
        with self._changed:
            while self._idle:
                self._discard(self._idle.pop())

    def close(self) -> None:
        """Close every connection, the ones in use as soon as they are put back."""
        with self._changed:
            self._is_closed = True
        self.discard_idle()

    def _start_opening(self) -> None:
        self._opening += 1
        self._open += 1
        thread = threading.Thread(target=self._open_another, name="connecting", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._opening -= 1
            self._open -= 1
            raise StoreUnavailable(str(error)) from error

    def _open_another(self) -> None:
        connection, failure = None, None
        try:
            connection = self._open_one()
        except StoreUnavailable as error:
            failure = error
        except BaseException as error:
            failure = StoreUnavailable(f"cannot connect to PostgreSQL: {error!r}")
        if failure is not None and self._has_opened:
            time.sleep(RETRY_PAUSE_S)
        with self._changed:
            self._opening -= 1
            self._failure = failure
            if connection is None:
                self._open -= 1
                self._failures += 1
            else:
                self._has_opened = True
                if self._is_closed:
                    self._discard(connection)
                else:
                    self._idle.append(connection)
            self._changed.notify_all()

    def _is_final(self, failure: StoreUnavailable) -> bool:
        return is_lasting(failure) or not self._has_opened

    def _discard(self, connection: Connection) -> None:
        self._open -= 1
        connection.close()

    def _refuse_other_process(self) -> None:
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise RuntimeError("the store was opened before a fork")
