"""When to move the WAL's content into the database file; no connection of its own.

Checkpoints are made by the writer between two transactions, under the lock between processes. In
SQLite 3.7.0 to 3.51.2 a commit that resets the WAL while another connection checkpoints can lose
committed transactions (sqlite.org/wal.html, "the WAL-reset bug"); under one lock they never meet.
"""

import time
from collections.abc import Callable
from typing import Any

# Pages of WAL after which it is time, as for SQLite's own automatic checkpoint.
PAGES_MOST = 1_000
# Counted on 20,000 orders: a transaction of one order writes 11 pages, of 16 63, of 64 192.
PAGES_PER_TRANSACTION = 8
PAGES_PER_WRITE = 3
# Readers that overlap keep the WAL from being reset; from here on we insist.
RESTART_ABOVE_FRAMES = 64 * 1024 * 1024 // 4096
RESTART_BUSY_TIMEOUT_MS = 20
RESTART_PAUSE_S = 1.0
RESTART_PAUSE_MOST_S = 60.0

Execute = Callable[[str], Any]


class Checkpointer:
    """Estimates what transactions have added to the WAL, and checkpoints when it is time."""

    def __init__(self) -> None:
        # A WAL that a crash left behind is taken in with the first transaction.
        self._pages_left = 1
        self._pause_s = RESTART_PAUSE_S
        self._restart_at = 0.0

    def is_due(self, writes: int) -> bool:
        """Count a transaction of so many writes and tell whether it is time for a checkpoint."""
        if writes:
            self._pages_left -= PAGES_PER_TRANSACTION + PAGES_PER_WRITE * writes
        return self._pages_left <= 0

    def checkpoint(self, execute: Execute) -> None:
        """Checkpoint; `execute` runs a statement on the write connection."""
        self._pages_left = PAGES_MOST
        _, frames, _ = execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if frames > RESTART_ABOVE_FRAMES and time.monotonic() >= self._restart_at:
            self._restart(execute)

    def _restart(self, execute: Execute) -> None:
        """Wait a moment for the readers to be gone, less and less often while they are not."""
        (usual_timeout_ms,) = execute("PRAGMA busy_timeout").fetchone()
        execute(f"PRAGMA busy_timeout = {RESTART_BUSY_TIMEOUT_MS}")
        try:
            busy, _, _ = execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        finally:
            execute(f"PRAGMA busy_timeout = {usual_timeout_ms}")
        self._pause_s = min(self._pause_s * 2, RESTART_PAUSE_MOST_S) if busy else RESTART_PAUSE_S
        self._restart_at = time.monotonic() + self._pause_s
