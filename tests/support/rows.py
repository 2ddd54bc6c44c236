"""The rows of a SQLite database, read on a read-only connection while the service uses it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

TABLES = ("orders", "ledger", "idempotency_keys", "events")


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query on a connection that does not belong to the store."""
    uri = f"file:{quote(os.fsencode(path))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=5)) as db:
        return db.execute(sql).fetchall()


def counts(path: Path) -> list[int]:
    return [int(query(path, f"SELECT COUNT(*) FROM {table}")[0][0]) for table in TABLES]
