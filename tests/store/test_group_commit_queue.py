"""The queue of the group commit: its order, deadlines, dead jobs, a stuck commit, and closing."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.store import group_commit, jobs
from orderapi.store.group_commit import GroupCommit
from orderapi.store.jobs import JOBS_MAX, Batch, RunNatively, find_nothing
from tests.support.store_crowd import Crowd
from tests.support.waiting import wait_until

# How long a job waits for its outcome, if the test does not say otherwise.
DEADLINE_S = 8.0


class Bench:
    """A group commit without a database. A test can hold its lock, so that no batch begins.

    `batches` has the results of each batch."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.error: BaseException | None = None
        self.error_afterwards: BaseException | None = None
        self.seconds_per_batch = 0.0
        self.before_end: Callable[[list[Any]], None] = lambda _: None
        self.batches: list[list[Any]] = []
        self.commits = GroupCommit(self.commit, self.after_batch)

    def commit(self, batch: Batch, _: RunNatively) -> bool:
        if self.error is not None:
            raise self.error
        with self.lock:
            taken = batch.take()
            for job in taken:
                job.end(job.work(None))
            time.sleep(self.seconds_per_batch)
            results = [job.outcome() for job in taken]
            self.before_end(results)
            self.batches.append(results)
        return True

    def after_batch(self) -> None:
        if self.error_afterwards is not None:
            raise self.error_afterwards

    def submit(
        self,
        result: Any = None,
        within_s: float = DEADLINE_S,
        look_up: Callable[[], Any] = find_nothing,
    ) -> Any:
        return self.commits.submit(lambda _: result, time.monotonic() + within_s, look_up)

    @property
    def ran(self) -> list[Any]:
        return [result for batch in self.batches for result in batch]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.commits.close()


def test_jobs_run_in_order_of_arrival(bench: Bench) -> None:
    with bench.lock:
        crowd = Crowd(bench.submit, 20, bench.commits.in_hand)
    crowd.join()
    assert bench.ran == list(range(20))
    assert crowd.outcomes == {number: number for number in range(20)}


def test_jobs_that_wait_together_are_one_batch(bench: Bench) -> None:
    with bench.lock:
        crowd = Crowd(bench.submit, 20, bench.commits.in_hand)
    crowd.join()
    # The first batch may have begun before the other jobs were queued.
    assert len(bench.batches) <= 2


def test_a_batch_has_a_maximum_size_and_the_rest_is_the_next_batch() -> None:
    bench = Bench()
    with bench.lock:
        crowd = Crowd(bench.submit, JOBS_MAX + 50, bench.commits.in_hand)
    crowd.join()
    bench.commits.close()
    assert max(map(len, bench.batches)) <= JOBS_MAX
    assert bench.ran == list(range(JOBS_MAX + 50))


def test_no_wake_up_is_lost_among_many_submitters(bench: Bench) -> None:
    crowd = Crowd(lambda number: [bench.submit(number) for _ in range(100)][-1], 16)
    crowd.join()
    assert len(bench.ran) == 1600
    assert crowd.outcomes == {number: number for number in range(16)}


def test_no_job_has_an_outcome_before_its_batch_has_ended(bench: Bench) -> None:
    bench.seconds_per_batch = 0.4
    early: list[Any] = []
    with bench.lock:
        crowd = Crowd(bench.submit, 5, bench.commits.in_hand)
        bench.before_end = lambda results: early.extend(set(results) & set(crowd.outcomes))
    crowd.join()
    assert early == []


def test_a_job_that_never_begins_fails_at_its_deadline_and_is_never_run(bench: Bench) -> None:
    with bench.lock:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as failed:
            bench.submit("dead", within_s=0.3)
        assert time.monotonic() - started >= 0.3
        assert failed.value.reason == "the write did not finish by its deadline"
    assert bench.submit("alive") == "alive"
    assert bench.ran == ["alive"]


def test_dead_jobs_do_not_count_towards_the_size_of_a_batch(bench: Bench) -> None:
    with bench.lock:
        dead = Crowd(lambda number: bench.submit(f"dead {number}", within_s=0.3), 20)
        alive = Crowd(lambda number: bench.submit(f"alive {number}"), 2)
        dead.join()
        wait_until(lambda: bench.commits.in_hand() == 2)
    alive.join()
    assert set(dead.outcomes.values()) == {"the write did not finish by its deadline"}
    assert set(bench.ran) == {"alive 0", "alive 1"}


def test_jobs_that_reached_their_deadline_are_removed_from_the_queue_of_a_stuck_drain(
    bench: Bench,
) -> None:
    """While a disk hangs for hours, they would otherwise fill the memory."""
    with bench.lock:
        crowd = Crowd(lambda number: bench.submit(number, within_s=0.1), 20)
        crowd.join()
        assert set(crowd.outcomes.values()) == {"the write did not finish by its deadline"}
        assert not bench.commits._queue
    assert bench.submit("alive") == "alive"
    assert bench.ran == ["alive"]


def test_a_job_whose_deadline_is_past_is_never_run(bench: Bench) -> None:
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            bench.submit("dead", within_s=-1.0)
    assert bench.submit("alive") == "alive"
    assert bench.ran == ["alive"]


def test_a_job_that_has_begun_ends_although_its_request_reached_its_deadline(bench: Bench) -> None:
    gave_up = threading.Event()

    def hang(_: list[Any]) -> None:
        gave_up.wait(30)

    bench.before_end = hang
    with pytest.raises(StoreUnavailable) as failed:
        bench.submit("begun", within_s=2.0)
    gave_up.set()
    assert failed.value.reason == "the write did not finish by its deadline"
    assert bench.submit("next") == "next"
    assert bench.ran == ["begun", "next"]


def test_every_request_waits_for_a_store_that_is_stuck() -> None:
    """A waiting request needs no thread of the server, so none is refused before its deadline."""
    bench = Bench()
    with bench.lock:
        crowd = Crowd(bench.submit, 40, bench.commits.in_hand)
        time.sleep(2.0)
        assert crowd.outcomes == {}
    crowd.join()
    bench.commits.close()
    assert crowd.outcomes == {number: number for number in range(40)}


def test_a_job_in_a_long_queue_is_not_looked_up_while_batches_succeed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-ups of all jobs of the queue would only delay it."""
    monkeypatch.setattr(group_commit, "PATIENCE_S", 2.0)
    monkeypatch.setattr(jobs, "JOBS_MAX", 1)
    bench.seconds_per_batch = 0.3
    looked_up: list[int] = []

    def submit(number: int) -> Any:
        return bench.submit(number, look_up=lambda: looked_up.append(number))

    with bench.lock:
        crowd = Crowd(submit, 10, bench.commits.in_hand)
    crowd.join()
    assert len(bench.batches) == 10
    assert looked_up == []


def test_a_job_is_looked_up_once_if_it_is_late_or_refused(bench: Bench) -> None:
    looked_up: list[str] = []
    with bench.lock:
        assert bench.submit("slow", look_up=lambda: "found") == "found"
        with pytest.raises(StoreUnavailable):
            bench.submit("late", within_s=1.0, look_up=lambda: looked_up.append("late"))
    assert bench.submit("next") == "next"
    bench.error = StoreUnavailable("no lock")
    with pytest.raises(StoreUnavailable):
        bench.submit("refused", look_up=lambda: looked_up.append("refused"))
    assert looked_up == ["late", "refused"]
    assert bench.ran == ["next"]


ERRORS = [StoreUnavailable("no lock"), OSError("bad"), SystemExit(1)]


@pytest.mark.parametrize("error", ERRORS)
def test_a_commit_that_cannot_begin_fails_each_job_and_the_next_batch_succeeds(
    bench: Bench, error: BaseException
) -> None:
    bench.error = error
    for _ in range(5):
        with pytest.raises(type(error)):
            bench.submit("failing")
    bench.error = None
    assert bench.submit("alive") == "alive"


@pytest.mark.parametrize("error", ERRORS)
def test_a_failure_after_a_batch_fails_no_request(bench: Bench, error: BaseException) -> None:
    bench.error_afterwards = error
    for number in range(5):
        assert bench.submit(number) == number


def test_a_thread_that_cannot_start_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoThreads:
        """Fails as `threading.Thread` does when the system gives no more threads."""

        def __init__(self, **_: Any) -> None:
            pass

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", NoThreads)
        with pytest.raises(StoreUnavailable):
            bench.submit("failing")
    assert bench.submit("alive", within_s=5) == "alive"
    assert bench.ran == ["alive"]


def test_closing_lets_the_queued_jobs_end_and_refuses_new_ones() -> None:
    bench = Bench()
    with bench.lock:
        crowd = Crowd(bench.submit, 6, bench.commits.in_hand)
        ended: list[bool] = []
        closing = threading.Thread(target=lambda: ended.append(bench.commits.close()))
        closing.start()
    closing.join()
    assert ended == [True]
    crowd.join()
    assert crowd.outcomes == {number: number for number in range(6)}
    with pytest.raises(StoreUnavailable):
        bench.submit("late")


def test_a_job_that_arrives_while_the_store_closes_is_run_or_refused() -> None:
    for round_number in range(40):
        bench = Bench()
        closing = threading.Timer(round_number % 10 / 1000, bench.commits.close)
        closing.start()
        crowd = Crowd(bench.submit, 4)
        crowd.join()
        closing.join()
        for number, outcome in crowd.outcomes.items():
            assert outcome in (number, "this process is stopping and accepts no more writes")
        # None of them has waited until its deadline.
        assert max(crowd.seconds.values()) < DEADLINE_S / 2


def test_a_store_that_never_wrote_can_be_closed() -> None:
    bench = Bench()
    assert bench.commits.close()
    assert bench.commits.close()
