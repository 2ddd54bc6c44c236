"""One database as one process uses it: which file it is, and how a connection to it is opened."""

import os
from pathlib import Path

from orderapi.errors import StoreUnavailable
from orderapi.store import migrate
from orderapi.store.sqlite import start
from orderapi.store.sqlite.connection import Connection
from orderapi.store.sqlite.files import DatabaseFiles


class Database:
    """The database in the file `path`, which must exist when a connection is opened.

    `mode` is the mode of `connection.file_uri`: `rw`, `ro`, or `immutable` for a file that nobody
    writes.
    """

    def __init__(self, path: Path, mode: str) -> None:
        self.files = DatabaseFiles(path)
        self.known = migrate.load("sqlite")
        self._mode = mode
        self._pid: int | None = None

    def open_reader(self) -> Connection:
        """Open a connection that cannot write. Raises StoreUnavailable as `_open` does."""
        return self._open("PRAGMA query_only = ON")

    def open_writer(self) -> Connection:
        """Open the connection that writes. Raises StoreUnavailable as `_open` does."""
        # What a savepoint must remember stays in memory. A file for it would cost a third more
        # time, and its disk may be full while ours is not.
        return self._open("PRAGMA temp_store = MEMORY")

    def refuse_other_process(self) -> None:
        """Raise RuntimeError in a child process: SQLite's locks do not survive a fork."""
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise RuntimeError("the store was opened before a fork")

    def _open(self, setting: str) -> Connection:
        """Open a database that exists. A database that is missing is never made here.

        Raises StoreUnavailable if the file is missing, if it is not the file that is in use, or if
        `prepare` must bring its schema up to date.
        """
        identity = self.files.identity()
        connection = Connection(self.files.path, self._mode)
        try:
            connection.execute(setting)
            # From its first statement on, the connection holds a lock that refuses a restore.
            start.refuse_unprepared(connection, self.known)
            if self.files.identity() != identity:
                raise StoreUnavailable("database file: another file was put in its place just now")
            if self._mode == "rw":
                self.files.sync_wal()
        except BaseException:
            connection.close()
            raise
        self.files.use(identity)
        return connection
