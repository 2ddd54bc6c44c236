"""The files of the metrics: which worker uses which, how many there are, and what they keep."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from orderapi.app import create_app
from orderapi.server.metric_files import FILE_BYTES, PREFIX, MetricFiles
from orderapi.settings import read_settings
from orderapi.telemetry import DIRECTORY_VARIABLE, METHODS, OTHER_METHOD, Telemetry
from tests.support.disks import mounted
from tests.support.metrics import counters, requests, samples
from tests.support.running import REPOSITORY, Server, serving, started
from tests.support.waiting import wait_until


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which each server of this test creates the directory of its metrics."""
    directory = tmp_path / "runtime"
    directory.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(directory))
    return directory


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricFiles]:
    """The files of a master in this process, which counts as usual after the test."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv(DIRECTORY_VARIABLE, "replaced by MetricFiles")
    made = MetricFiles(tmp_path)
    yield made
    atexit.unregister(made._remove)


class Master:
    """A fake of gunicorn's master. A worker is in `WORKERS` until the master has reaped it."""

    def __init__(self, files: MetricFiles) -> None:
        self.WORKERS: dict[int, SimpleNamespace] = {}
        self._files = files
        self._last_pid = 0

    def fork(self) -> SimpleNamespace:
        worker = SimpleNamespace()
        self._files.pre_fork(self, worker)
        self._last_pid += 1
        worker.pid = self._last_pid
        self.WORKERS[worker.pid] = worker
        return worker

    def reap(self, worker: SimpleNamespace) -> None:
        del self.WORKERS[worker.pid]
        self._files.child_exit(worker)


def replace_workers(server: Server) -> None:
    """Kill every worker, and wait until the same number of new workers serves."""
    killed = set(server.workers())
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: len(set(server.workers()) - killed) == len(killed) and not answers_no(server),
        "new workers",
    )


def answers_no(server: Server) -> bool:
    try:
        return server.request("GET", "/problems/not-found").status != 200
    except OSError:
        return True


def directories(parent: Path) -> list[Path]:
    return sorted(parent.glob(f"{PREFIX}*"))


def test_no_counter_goes_down_when_workers_are_killed_or_replaced(
    tmp_path: Path, runtime: Path
) -> None:
    with serving(tmp_path) as server:
        for number in range(20):
            assert server.order(f"key-{number}").status == 201
        before = server.request("GET", "/metrics")
        assert requests(before)["POST", "/orders", "2xx"] == 20
        (directory,) = directories(runtime)
        for generation in range(4):
            replace_workers(server)
            assert server.order(f"later-{generation}").status == 201
            after = server.request("GET", "/metrics")
            assert requests(after)["POST", "/orders", "2xx"] == 21 + generation
            assert samples(after)["orderapi_orders_created_total"] == 21 + generation
            counted = dict(counters(after))
            assert all(counted[name] >= value for name, value in counters(before))
            before = after
        # Two workers, and none of their predecessors.
        assert len(list(directory.glob("counter_*.db"))) == 3
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(list(directory.glob("counter_*.db"))) == 5, "a second generation")
        wait_until(lambda: len(server.workers()) == 2, "the end of the first one")
        after = server.request("GET", "/metrics")
        counted = dict(counters(after))
        assert all(counted[name] >= value for name, value in counters(before))


def test_a_reader_that_waited_in_a_killed_worker_is_no_longer_counted_as_waiting(
    server: Server,
) -> None:
    process = subprocess.Popen(
        ["curl", "--silent", f"{server.url}/events?wait=30"], stdout=subprocess.DEVNULL
    )

    def waiting() -> float:
        return samples(server.request("GET", "/metrics"))["orderapi_waiting_readers"]

    wait_until(lambda: waiting() == 1, "a waiting reader")
    replace_workers(server)
    assert waiting() == 0
    process.wait()


def test_the_directory_is_removed_when_the_service_stops(tmp_path: Path, runtime: Path) -> None:
    with serving(tmp_path) as server:
        (directory,) = directories(runtime)
        assert directory.stat().st_mode & 0o777 == 0o700
        assert server.stop() == 0
        assert directories(runtime) == []


def test_a_start_removes_the_directory_of_a_killed_service_and_nothing_else(
    tmp_path: Path, runtime: Path
) -> None:
    for name in ("killed", "lives", "later"):
        (tmp_path / name).mkdir()
    (runtime / "other").mkdir()
    killed = Server(tmp_path / "killed")
    with serving(tmp_path / "lives") as lives:
        (kept,) = directories(runtime)
        with started(killed):
            workers = killed.workers()
            killed.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "its end")
        assert len(directories(runtime)) == 2
        with serving(tmp_path / "later"):
            assert len(directories(runtime)) == 2
            assert kept in directories(runtime)
            assert samples(lives.request("GET", "/metrics"))["orderapi_ready"] == 1
    assert (runtime / "other").is_dir()


def test_gunicorns_check_of_the_configuration_leaves_no_directory(
    tmp_path: Path, runtime: Path
) -> None:
    command = [str(Path(sys.executable).parent / "gunicorn"), "--check-config"]
    command += ["-c", "deploy/gunicorn.conf.py", "wsgi:app"]
    subprocess.run(command, cwd=REPOSITORY, env=Server(tmp_path).environ(), check=True)
    assert directories(runtime) == []


def test_workers_go_on_serving_where_no_memory_is_left_for_their_counters(
    tmp_path: Path, runtime: Path
) -> None:
    with mounted("-t", "tmpfs", "-o", "size=2m", "tmpfs", runtime), serving(tmp_path) as server:
        assert server.order("key-1").status == 201
        fill(runtime)
        server.signal(signal.SIGHUP)
        before = set(server.workers())
        wait_until(lambda: not before & set(server.workers()), "workers without room")
        for number in range(40):
            assert server.order(f"key-{number}").status in (200, 201)
        found = server.request("GET", "/metrics")
        assert samples(found)["orderapi_orders_created_total"] == 1
        assert samples(found)["orderapi_events_total"] == 40
        assert server.stop() == 0
        assert "will not count the requests" in server.log_path.read_text()
        assert "SIGBUS" not in server.log_path.read_text()


def test_a_start_uses_the_next_directory_if_the_first_has_no_room(
    tmp_path: Path, runtime: Path
) -> None:
    with mounted("-t", "tmpfs", "-o", "size=100k", "tmpfs", runtime), serving(tmp_path) as server:
        assert server.order("key-1").status == 201
        assert samples(server.request("GET", "/metrics"))["orderapi_orders_created_total"] == 1


def test_a_slot_is_not_used_again_before_its_worker_was_reaped(files: MetricFiles) -> None:
    master = Master(files)
    first, second = master.fork(), master.fork()
    assert (first.metrics_slot, second.metrics_slot) == ("0", "1")
    assert master.fork().metrics_slot == "2"
    master.reap(first)
    assert master.fork().metrics_slot == "0"
    assert master.fork().metrics_slot == "3"


def test_the_gauges_of_a_dead_worker_are_removed_and_its_counters_stay(files: MetricFiles) -> None:
    master, telemetry = Master(files), Telemetry()

    def counted() -> dict[str, float]:
        found = telemetry.registry().collect()
        return {sample.name: sample.value for family in found for sample in family.samples}

    worker = master.fork()
    files.post_fork(worker)
    telemetry.count_reply(is_replayed=False)
    telemetry.watch(queue_length=lambda: 5, waiting_readers=lambda: 7)
    telemetry.sample()
    assert counted()["orderapi_write_queue_length"] == 5
    assert counted()["orderapi_waiting_readers"] == 7
    master.reap(worker)
    assert counted()["orderapi_orders_created_total"] == 1
    assert counted()["orderapi_write_queue_length"] == 0
    assert counted()["orderapi_waiting_readers"] == 0


def test_the_files_have_the_content_that_prometheus_clients_own_values_write(
    files: MetricFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(telemetry: Telemetry) -> None:
        telemetry.watch(queue_length=lambda: 3, waiting_readers=lambda: 2)
        for duration_s in (0.0005, 0.003, 0.003, 99.0):
            telemetry.count_request("/orders", "POST", 201, duration_s)
        telemetry.count_reply(is_replayed=True)
        telemetry.note_batch(7, 0.25)
        telemetry.sample()

    def content(directory: Path, process: str) -> dict[tuple[str, str], float]:
        return {
            (kind, key): value
            for kind in FILE_BYTES
            for key, value, _, _ in MmapedDict.read_all_values_from_file(
                str(directory / f"{kind}_{process}.db")
            )
        }

    files.post_fork(Master(files).fork())
    count(Telemetry())
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(own))
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue(lambda: "own"))
    count(Telemetry())
    assert content(files.directory, "0") == content(own, "own")


def test_every_possible_series_fits_into_the_allocated_files(
    files: MetricFiles, tmp_path: Path
) -> None:
    master = Master(files)
    app = create_app(read_settings({"ORDERAPI_DATABASE_URL": f"sqlite:///{tmp_path}/orders.db"}))
    telemetry: Telemetry = app.extensions["telemetry"]
    files.post_fork(master.fork())
    routes: list[tuple[str | None, str]] = [
        (rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()
    ]
    for route, method in routes + [(None, method) for method in (*METHODS, OTHER_METHOD)]:
        for status in (200, 400, 500):
            telemetry.count_request(route, method, status, 0.1)
    for kind in ("temporary", "foreign", "damaged", "one", "more"):
        telemetry.count_store_error(kind)
    for reason in ("missing", "unknown", "expired", "revoked", "scope"):
        telemetry.count_refused_token(reason)
    sizes = {kind: (files.directory / f"{kind}_0.db").stat().st_size for kind in FILE_BYTES}
    assert sizes == FILE_BYTES
    # Four workers and their successors stay under 5 MB.
    everything = sum(8 * size for size in sizes.values())
    everything += sum(file.stat().st_size for file in files.directory.glob("*_master.db"))
    assert everything < 5_000_000


def fill(directory: Path) -> None:
    """Write a file until the file system is full."""
    with (directory / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return
