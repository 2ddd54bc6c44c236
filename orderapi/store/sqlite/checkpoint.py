"""When a checkpoint moves the content of the WAL into the database file.

Only the writer makes checkpoints: between two transactions, and under the lock between processes.
In SQLite 3.7.0 to 3.51.2, a commit that resets the WAL while another connection makes a checkpoint
can lose committed transactions (sqlite.org/wal.html, "the WAL-reset bug"). Under one lock, the two
cannot happen at the same time.
"""

import time
from collections.abc import Callable
from typing import Any

# A checkpoint is due after this many pages of WAL, as it is for SQLite itself by default.
PAGES_MAX = 1_000
# These were counted on 20,000 orders. A transaction of one order writes 11 pages, a transaction of
# 16 orders writes 63, and a transaction of 64 orders writes 192.
PAGES_PER_TRANSACTION = 8
PAGES_PER_WRITE = 3
# Readers that overlap prevent the reset of the WAL. Above this size, the writer waits for a reset.
# SQLite shortens the file of a longer WAL to this size when it has been reset.
WAL_MAX_BYTES = 64 * 1024 * 1024
WAL_MAX_FRAMES = WAL_MAX_BYTES // 4096
RESTART_BUSY_TIMEOUT_MS = 20
RESTART_PAUSE_S = 1.0
RESTART_PAUSE_MAX_S = 60.0

Execute = Callable[[str], Any]


class Checkpointer:
    """Estimates how many pages the transactions have added to the WAL, and makes checkpoints."""

    def __init__(self) -> None:
        # A crash may have left a WAL. The first transaction is followed by a checkpoint of it.
        self._pages_left = 1
        self._pause_s = RESTART_PAUSE_S
        self._restart_at = 0.0

    def is_due(self, writes: int) -> bool:
        """Count a transaction with `writes` writes, and tell whether a checkpoint is due."""
        if writes:
            self._pages_left -= PAGES_PER_TRANSACTION + PAGES_PER_WRITE * writes
        return self._pages_left <= 0

    def checkpoint(self, execute: Execute) -> None:
        """Make a checkpoint. `execute` runs a statement on the write connection."""
        self._pages_left = PAGES_MAX
        _, frames, _ = execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if frames > WAL_MAX_FRAMES and time.monotonic() >= self._restart_at:
            self._restart(execute)

    def _restart(self, execute: Execute) -> None:
        """Wait a moment until no reader prevents the reset. While readers do, try it less often."""
        (usual_timeout_ms,) = execute("PRAGMA busy_timeout").fetchone()
        execute(f"PRAGMA busy_timeout = {RESTART_BUSY_TIMEOUT_MS}")
        try:
            busy, _, _ = execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        finally:
            execute(f"PRAGMA busy_timeout = {usual_timeout_ms}")
        self._pause_s = min(self._pause_s * 2, RESTART_PAUSE_MAX_S) if busy else RESTART_PAUSE_S
        self._restart_at = time.monotonic() + self._pause_s
