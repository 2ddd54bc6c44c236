"""FastAPI as the seed of this project uses it: one shared connection and a rollback journal."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.fastapi_stack.orders import DATABASE, make_app

_db = sqlite3.connect(DATABASE, isolation_level=None, check_same_thread=False)
_db.execute("PRAGMA synchronous = FULL")
_db.execute("PRAGMA foreign_keys = ON")
# The endpoints run on threads, and a connection has only one transaction at a time.
_lock = threading.Lock()


@contextmanager
def _reading() -> Iterator[sqlite3.Connection]:
    with _lock:
        yield _db


@contextmanager
def _writing() -> Iterator[sqlite3.Connection]:
    with _lock:
        _db.execute("BEGIN IMMEDIATE")
        try:
            yield _db
        except BaseException:
            _db.execute("ROLLBACK")
            raise
        _db.execute("COMMIT")


app = make_app(_reading, _writing)
