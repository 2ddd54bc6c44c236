"""One database as one process uses it: which file it is, and how a connection to it is opened."""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from orderapi.errors import StoreFailure, StoreUnavailable
from orderapi.store import migrate
from orderapi.store.sqlite import start
from orderapi.store.sqlite.connection import DRIVER_ERRORS, Connection, is_busy, store_unavailable
from orderapi.store.sqlite.files import DatabaseFiles, Identity

_FOR_READING = "PRAGMA query_only = ON"
# SQLite keeps the old content of a savepoint's pages in memory. A file would cost a third more
# time, and it may be on another disk, which may be full.
_FOR_WRITING = "PRAGMA temp_store = MEMORY"


class Database:
    """The database in the file `path`, which must exist when a connection is opened.

    `mode` is the mode of `connection.file_uri`: `rw`, `ro`, or `immutable` for a file to which no
    process writes. `accepted` are the marks of the files that can be opened.
    """

    def __init__(
        self, path: Path, mode: str, accepted: Collection[int] = (start.APPLICATION_ID,)
    ) -> None:
        self.files = DatabaseFiles(path)
        self.known = migrate.load("sqlite")
        self._mode = mode
        self._accepted = accepted
        self._pid: int | None = None

    def open_reader(self) -> Connection:
        """Open a connection that cannot write.

        Raises StoreUnavailable as `_open` does.
        """
        try:
            connection = self._open(self._mode, _FOR_READING)
        except DRIVER_ERRORS as error:
            if is_busy(error) or store_unavailable(error).kind is not StoreFailure.TEMPORARY:
                raise
            return self._open_without_writing()
        with suppress(StoreUnavailable):  # a disk that refuses every write can still be read
            self._sync_wal()
        return connection

    def open_writer(self) -> Connection:
        """Open the connection that writes.

        Raises StoreUnavailable as `_open` does, and if the WAL cannot be put on stable storage.
        """
        connection = self._open(self._mode, _FOR_WRITING)
        try:
            self._sync_wal()
        except BaseException:
            connection.close()
            raise
        self.files.use_wal()
        return connection

    def refuse_other_process(self) -> None:
        """Raise RuntimeError in a child process: SQLite's locks do not survive a fork."""
        if self._pid is None:
            self._pid = os.getpid()
        elif self._pid != os.getpid():
            raise RuntimeError("the store was opened before a fork")

    def _open(self, mode: str, setting: str) -> Connection:
        """Open a database that exists. A database that is missing is never made here.

        Raises StoreUnavailable if the file is missing, if it is not the file that is in use, if its
        WAL may be elsewhere, or if `prepare` must bring its schema up to date.
        """
        identity = self.files.identity()
        why = None if mode == "immutable" else self.files.why_unsafe_to_open()
        if why:
            raise StoreUnavailable(why)
        return self._prepare(Connection(self.files.path, mode), setting, identity)

    def _open_without_writing(self) -> Connection:
        """Open a database on a disk where SQLite cannot write what it needs for reading.

        Without a WAL, the database file alone contains everything that was committed. It is then
        read without any lock, and the stamp of the connection tells for how long that is true.
        """
        identity = self.files.identity()
        stamp = self.files.stamp()
        mode = "ro-index" if stamp is None else "immutable"
        connection = Connection(self.files.path, mode)
        connection.stamp = stamp
        # No connection of this process can write while one has the index of the WAL in memory.
        connection.is_for_one_read = stamp is None
        return self._prepare(connection, _FOR_READING, identity)

    def _prepare(self, connection: Connection, setting: str, identity: Identity) -> Connection:
        try:
            connection.execute(setting)
            # From its first statement on, the connection holds a lock that refuses a restore.
            start.refuse_unprepared(connection, self.known, self._accepted)
            if self.files.identity() != identity:
                raise StoreUnavailable("database file: another file has just replaced it")
        except BaseException:
            connection.close()
            raise
        self.files.use(identity)
        return connection

    def _sync_wal(self) -> None:
        if self._mode == "rw":
            self.files.sync_wal()
