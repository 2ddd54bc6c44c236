"""The one connection of a writer. It is opened again after each failure that ended it."""

from orderapi.store.postgres.connection import Connection
from orderapi.store.postgres.pool import Pool
from orderapi.store.postgres.session import Sessions


class Primary:
    """A connection to the server that can be written, for one user at a time.

    The caller may reach its deadline before the connection is open. The connection is then kept for
    the next caller. Otherwise no caller would get one while opening takes longer than a request.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._pool = Pool(sessions.open_for_writing, connections_max=1)
        self._connection: Connection | None = None

    def connection(self, deadline: float) -> Connection:
        """Return the connection, whose statements wait until `deadline`.

        Raises StoreUnavailable as `Pool.take` does.
        """
        if self._connection is not None and not self._connection.is_idle():
            self.drop()
        if self._connection is None:
            self._connection = self._pool.take(deadline)
        self._connection.deadline = deadline
        self._connection.notices.clear()
        self._connection.has_written = False
        return self._connection

    def drop(self) -> None:
        """Drop the connection. The server may still finish its last statement."""
        if self._connection is not None:
            self._connection.drop()
            self._pool.put_back(self._connection)
            self._connection = None

    def close(self) -> None:
        """Drop the connection, and open no other one."""
        self.drop()
        self._pool.close()
