"""What one store reports of its commits: when the last one was, and the measures of each batch."""

import time

from orderapi.store.contract import Measures


class CommitStats:
    """The commits of one process. Nothing is measured before `report_to` is called."""

    def __init__(self) -> None:
        self._committed_at = float("-inf")
        self._measures: Measures | None = None

    def report_to(self, measures: Measures) -> None:
        """Report every batch to `measures` from now on."""
        self._measures = measures

    def seconds_since_commit(self) -> float:
        """Return how long ago a write was last committed. It is infinite before that."""
        return time.monotonic() - self._committed_at

    def note_commit(self) -> None:
        """Note that a write is durable now. Any thread may call this."""
        self._committed_at = time.monotonic()

    def note_batch(self, size: int, commit_s: float) -> None:
        """See `contract.Measures`."""
        if self._measures is not None:
            self._measures.note_batch(size, commit_s)

    def note_lock_wait(self, wait_s: float) -> None:
        """See `contract.Measures`."""
        if self._measures is not None:
            self._measures.note_lock_wait(wait_s)
