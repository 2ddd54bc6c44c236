"""When to move the WAL's content into the database file; no connection of its own.

Checkpoints are made by the writer between two transactions, under the lock between processes. In
SQLite 3.7.0 to 3.51.2 a commit that resets the WAL while another connection checkpoints can lose
committed transactions (sqlite.org/wal.html, "the WAL-reset bug"); under one lock they never meet.
"""

import time
from collections.abc import Callable
from typing import Any

# About a thousand pages of WAL, as SQLite's own automatic checkpoint.
EVERY_TRANSACTIONS = 100
# Readers that overlap keep the WAL from being reset; from here on we insist.
RESTART_ABOVE_FRAMES = 64 * 1024 * 1024 // 4096
RESTART_BUSY_TIMEOUT_MS = 20
RESTART_PAUSE_S = 1.0
RESTART_PAUSE_MOST_S = 60.0

Execute = Callable[[str], Any]


class Checkpointer:
    """Counts transactions and checkpoints when it is time."""

    def __init__(self) -> None:
        # A WAL that a crash left behind is taken in with the first transaction.
        self._transactions_left = 1
        self._pause_s = RESTART_PAUSE_S
        self._restart_at = 0.0

    def after_transaction(self, execute: Execute) -> None:
        """Checkpoint if it is time; `execute` runs a statement on the write connection."""
        self._transactions_left -= 1
        if self._transactions_left > 0:
            return
        self._transactions_left = EVERY_TRANSACTIONS
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
