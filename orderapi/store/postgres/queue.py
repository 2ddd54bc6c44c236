"""The jobs of this process that wait for the primary. One connection serves them in batches."""

from collections.abc import Callable
from typing import Any

from orderapi.store.group_commit import GroupCommit
from orderapi.store.jobs import Batch, Job, RunNatively, find_nothing
from orderapi.store.postgres.primary import Primary


class Queue:
    """The jobs for one connection.

    `run(jobs)` runs the jobs of a batch, and ends each of them. It runs on the thread (under
    gevent: in the greenlet) of the drain.
    """

    def __init__(self, primary: Primary, run: Callable[[list[Job]], None]) -> None:
        self._primary = primary
        self._run = run
        self._commits = GroupCommit(self._commit, lambda: None)

    def submit(self, work: Any, deadline: float, look_up: Callable[[], Any] = find_nothing) -> Any:
        """See `GroupCommit.submit`."""
        return self._commits.submit(work, deadline, look_up)

    def in_hand(self) -> int:
        """Return how many jobs wait for their commit."""
        return self._commits.in_hand()

    def stop(self) -> None:
        """Refuse new jobs, wait for the queued ones, and drop the connection."""
        self._commits.close()
        self._primary.close()

    def _commit(self, batch: Batch, _natively: RunNatively) -> bool:
        jobs = batch.take()
        if jobs:
            self._run(jobs)
        return False
