"""The writer's queue: deadlines, dead jobs, what it does when stuck, and how it closes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orderapi.errors import StoreUnavailable
from orderapi.store.files import DatabaseFiles
from orderapi.store.sqlite import SqliteStore
from orderapi.store.tx import WriteTx
from orderapi.store.writer import PATIENCE_S, Job, Writer
from orderapi.web.orders import place_order
from tests.store.placing import counts, place, request_for


class Bench:
    """A writer on a lock that tests can hold; jobs run as they are and say that they went well."""

    def __init__(self, *, waiting_when_stuck: int = 2) -> None:
        self.lock = threading.Lock()
        self.lock_error: BaseException | None = None
        self.seconds_per_job = 0.0
        self.ran: list[Any] = []
        self.writer = Writer(self.locked, self.run, waiting_when_stuck=waiting_when_stuck)

    @contextmanager
    def locked(self) -> Iterator[None]:
        if self.lock_error is not None:
            raise self.lock_error
        with self.lock:
            yield

    def run(self, job: Job) -> bool:
        time.sleep(self.seconds_per_job)
        try:
            result = job.fn(None)
        except StoreUnavailable as error:
            job.fail(error)
            return False
        self.ran.append(result)
        job.succeed(result)
        return True

    def submit(self, result: Any = None, within_s: float = 8.0) -> Any:
        return self.writer.submit(lambda _: result, time.monotonic() + within_s)


class Crowd:
    """Threads that submit, each noting its outcome and how long that took."""

    def __init__(self, submit: Callable[[int], Any], size: int) -> None:
        self.outcomes: dict[int, Any] = {}
        self.seconds: dict[int, float] = {}
        self.threads = [
            threading.Thread(target=self._one, args=(submit, number)) for number in range(size)
        ]
        for thread in self.threads:
            thread.start()
            time.sleep(0.002)  # so that they queue in this order

    def _one(self, submit: Callable[[int], Any], number: int) -> None:
        started = time.monotonic()
        try:
            self.outcomes[number] = submit(number)
        except StoreUnavailable as error:
            self.outcomes[number] = error.reason
        self.seconds[number] = time.monotonic() - started

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)
        assert len(self.outcomes) == len(self.threads)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.writer.close()


def test_jobs_run_in_order_of_arrival(bench: Bench) -> None:
    with bench.lock:
        crowd = Crowd(bench.submit, 20)
    crowd.join()
    assert bench.ran == list(range(20))
    assert crowd.outcomes == {number: number for number in range(20)}


def test_no_wake_up_is_lost_among_many_submitters(bench: Bench) -> None:
    crowd = Crowd(lambda number: [bench.submit(number) for _ in range(100)][-1], 16)
    crowd.join()
    assert len(bench.ran) == 1600
    assert crowd.outcomes == {number: number for number in range(16)}


def test_a_job_that_never_begins_fails_at_its_deadline_and_is_never_run(bench: Bench) -> None:
    with bench.lock:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r".") as failed:
            bench.submit("dead", within_s=0.3)
        assert time.monotonic() - started >= 0.3
        assert failed.value.reason == "no outcome by the deadline"
    assert bench.submit("alive") == "alive"
    assert bench.ran == ["alive"]


def test_a_job_whose_deadline_is_past_is_never_run(bench: Bench) -> None:
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            bench.submit("dead", within_s=-1.0)
    assert bench.submit("alive") == "alive"
    assert bench.ran == ["alive"]


def test_a_job_begun_whose_request_gave_up_ends_without_a_listener(bench: Bench) -> None:
    bench.seconds_per_job = 0.5
    with pytest.raises(StoreUnavailable) as failed:
        bench.submit("begun", within_s=0.2)
    assert "outcome unknown" in failed.value.reason
    assert bench.submit("next") == "next"
    assert bench.ran == ["begun", "next"]


def test_an_order_begun_whose_request_gave_up_is_committed_whole(store: SqliteStore) -> None:
    claim, new_order = request_for("abandoned")

    def place_slowly(tx: WriteTx) -> None:
        time.sleep(0.4)
        place_order(tx, claim, new_order)

    with pytest.raises(StoreUnavailable):
        store.write(place_slowly, time.monotonic() + 0.1)
    assert counts(store._files.path) == [0, 0, 0, 0]
    assert place(store, "abandoned").replayed
    assert counts(store._files.path) == [1, 1, 1, 1]


def test_only_so_many_wait_for_a_writer_that_is_stuck() -> None:
    bench = Bench(waiting_when_stuck=3)
    with bench.lock:
        crowd = Crowd(lambda number: bench.submit(number, within_s=4.0), 12)
        time.sleep(2 * PATIENCE_S + 0.5)
        gave_up = sorted(crowd.outcomes)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            bench.submit("late")
        assert time.monotonic() - started < PATIENCE_S
    crowd.join()
    bench.writer.close()
    # The oldest three waited on, and succeeded when the lock came.
    assert gave_up == list(range(3, 12))
    assert bench.ran == [0, 1, 2]


def test_the_request_of_a_job_that_hangs_counts_among_those_who_wait() -> None:
    """With two threads, the other one must be free for those who only read."""
    bench = Bench(waiting_when_stuck=1)
    bench.seconds_per_job = 4 * PATIENCE_S
    crowd = Crowd(lambda number: bench.submit(number), 2)
    crowd.join()
    bench.writer.close()
    assert crowd.outcomes[0] == 0
    assert "stuck" in crowd.outcomes[1]
    assert bench.ran == [0]


def test_a_slow_writer_lets_only_so_many_wait_too() -> None:
    """Each job is progress; but whoever is far behind would wait for its whole deadline."""
    bench = Bench(waiting_when_stuck=3)
    bench.seconds_per_job = 0.4
    crowd = Crowd(lambda number: bench.submit(number), 24)
    crowd.join()
    bench.writer.close()
    refused = [number for number in range(24) if crowd.outcomes[number] != number]
    assert len(refused) >= 12
    assert max(crowd.seconds[number] for number in refused) < 3 * PATIENCE_S


def test_a_writer_that_was_stuck_takes_a_crowd_again_when_it_is_free() -> None:
    bench = Bench(waiting_when_stuck=1)
    bench.lock_error = StoreUnavailable("no lock to be had")
    with pytest.raises(StoreUnavailable):
        bench.submit("failing")
    bench.lock_error = None
    time.sleep(PATIENCE_S * 2 + 0.2)
    with bench.lock:
        crowd = Crowd(bench.submit, 8)
    crowd.join()
    bench.writer.close()
    assert crowd.outcomes == {number: number for number in range(8)}


@pytest.mark.parametrize("error", [StoreUnavailable("no lock"), OSError("bad"), SystemExit(1)])
def test_a_lock_that_cannot_be_had_fails_each_job_and_kills_no_writer(
    bench: Bench, error: BaseException
) -> None:
    bench.lock_error = error
    for _ in range(5):
        with pytest.raises(type(error)):
            bench.submit("failing")
    bench.lock_error = None
    assert bench.submit("alive") == "alive"


def test_whatever_a_job_raises_kills_no_writer(bench: Bench) -> None:
    def leave(_: Any) -> None:
        raise SystemExit

    for _ in range(5):
        with pytest.raises(SystemExit):
            bench.writer.submit(leave, time.monotonic() + 5)
    assert bench.submit("alive") == "alive"


def test_a_thread_that_cannot_start_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoThreads:
        """What Python does when the system gives it no more threads."""

        def __init__(self, **_: Any) -> None:
            pass

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", NoThreads)
        with pytest.raises((RuntimeError, StoreUnavailable)):
            bench.submit("failing")
    assert bench.submit("alive", within_s=5) == "alive"
    assert bench.ran == ["alive"]


def test_closing_lets_the_queued_jobs_end_and_refuses_new_ones() -> None:
    bench = Bench()
    bench.seconds_per_job = 0.1
    crowd = Crowd(bench.submit, 6)
    bench.writer.close()
    crowd.join()
    assert crowd.outcomes == {number: number for number in range(6)}
    with pytest.raises(StoreUnavailable):
        bench.submit("late")


def test_closing_a_writer_that_never_wrote_is_easy() -> None:
    bench = Bench()
    bench.writer.close()
    bench.writer.close()


def test_a_store_closed_in_the_middle_of_a_write_commits_it_whole(store: SqliteStore) -> None:
    """Its connection must not be closed under the writer's hands."""
    begun = threading.Event()

    def place_slowly(tx: Any) -> str:
        begun.set()
        time.sleep(1.5 * PATIENCE_S)
        tx.touch_probe()
        return "done"

    outcomes: list[Any] = []
    thread = threading.Thread(target=lambda: outcomes.append(store.write(place_slowly)))
    thread.start()
    begun.wait(5)
    store.close()
    thread.join()
    assert outcomes == ["done"]


def test_a_store_closed_while_stuck_leaves_the_write_to_its_end(store: SqliteStore) -> None:
    place(store, "before")
    holder = DatabaseFiles(store._files.path)
    outcomes: list[Any] = []
    with holder.locked():
        thread = threading.Thread(
            target=lambda: outcomes.append(place(store, "stuck", deadline=time.monotonic() + 30))
        )
        thread.start()
        time.sleep(0.2)
        closing = threading.Thread(target=store.close)
        closing.start()
        time.sleep(1.5 * PATIENCE_S)
    thread.join()
    closing.join()
    holder.close()
    assert [reply.replayed for reply in outcomes] == [False]
    assert counts(store._files.path) == [2, 2, 2, 2]
