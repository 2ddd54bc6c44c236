"""`/healthz` and `/readyz`."""

import fcntl
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from orderapi.web.health import FRESH_S
from tests.support.http_messages import ask, check_problem, order
from tests.support.running import Answer, Server
from tests.support.waiting import awake_s, wait_until

NEVER = "1970-01-01T00:00:00.000Z"


@contextmanager
def holding_the_lock(directory: Path) -> Iterator[None]:
    """Prevent every process from committing."""
    with (directory / "orders.db-lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def _long_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a commit count for the store as long as a test may take."""
    monkeypatch.setattr("orderapi.web.health.FRESH_S", 60.0)


def probed_at(directory: Path) -> str:
    with closing(sqlite3.connect(directory / "orders.db")) as database:
        ((checked_at,),) = database.execute("SELECT checked_at FROM readiness_probe").fetchall()
    return str(checked_at)


def test_a_serving_process_is_healthy(client: FlaskClient) -> None:
    answer = ask(client, "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"


def test_a_store_that_commits_is_ready(client: FlaskClient, tmp_path: Path) -> None:
    assert ask(client, "/readyz").status == 200
    assert probed_at(tmp_path) > NEVER


@pytest.mark.usefixtures("_long_fresh")
def test_a_commit_of_late_is_proof_enough(client: FlaskClient, tmp_path: Path) -> None:
    order(client, "key-1")
    assert ask(client, "/readyz").status == 200
    assert probed_at(tmp_path) == NEVER


def test_the_probe_is_rewritten_at_most_once_every_2_s(client: FlaskClient, tmp_path: Path) -> None:
    written: list[str] = []

    def is_rewritten() -> bool:
        ask(client, "/readyz")
        written.append(probed_at(tmp_path))
        return written[-1] != written[0]

    wait_until(is_rewritten)
    first, second = (datetime.fromisoformat(written[at]) for at in (0, -1))
    assert set(written) == {written[0], written[-1]}
    assert (second - first).total_seconds() > FRESH_S - 0.01


@pytest.mark.usefixtures("_long_fresh")
def test_those_who_ask_at_once_share_one_probe(client: FlaskClient, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "orders.db")) as database:
        database.execute("CREATE TABLE probes (checked_at TEXT)")
        database.execute(
            "CREATE TRIGGER counting AFTER UPDATE ON readiness_probe"
            " BEGIN INSERT INTO probes VALUES (NEW.checked_at); END"
        )
        database.commit()
        start = threading.Barrier(8)

        def probe(_: int) -> int:
            probing = client.application.test_client()
            start.wait()
            return ask(probing, "/readyz").status

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(probe, range(8))) == {200}
        assert database.execute("SELECT COUNT(*) FROM probes").fetchall() == [(1,)]


def test_a_probe_leaves_no_order_behind(client: FlaskClient) -> None:
    ask(client, "/readyz")
    assert ask(client, "/orders").json["orders"] == []


def test_writes_that_cannot_commit_are_not_ready_and_everybody_is_told_at_once(
    client: FlaskClient, tmp_path: Path
) -> None:
    ask(client, "/readyz")
    time.sleep(2.1)
    start = threading.Barrier(8)

    def probe(_: int) -> tuple[Answer, float]:
        probing = client.application.test_client()
        start.wait()
        asked_at = awake_s()
        return ask(probing, "/readyz"), awake_s() - asked_at

    with holding_the_lock(tmp_path), ThreadPoolExecutor(8) as pool:
        for answer, took_s in pool.map(probe, range(8)):
            check_problem(answer, "store-unavailable")
            assert int(answer.headers["retry-after"]) > 0
            # The requests share one probe of 2 s. Eight probes in a row would take 16 s.
            assert took_s < 4
        # The verdict is kept. If the machine stalls, the verdict may become too old once.
        waits_s = []
        for _ in range(3):
            asked_at = awake_s()
            check_problem(ask(client, "/readyz"), "store-unavailable")
            waits_s.append(awake_s() - asked_at)
        assert min(waits_s) < 1
        assert ask(client, "/healthz").status == 200
        assert ask(client, "/orders").status == 200
    time.sleep(2.1)
    wait_until(lambda: ask(client, "/readyz").status == 200)


def test_a_store_that_is_gone_is_not_ready_and_the_log_says_why(
    client: FlaskClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "orders.db").rename(tmp_path / "elsewhere.db")
    check_problem(ask(client, "/readyz"), "store-unavailable")
    (record,) = (record for record in caplog.records if record.message == "store unavailable")
    why = "the readiness probe did not commit: database file: No such file or directory"
    assert vars(record)["reason"] == why
    assert ask(client, "/healthz").status == 200


def test_every_worker_of_a_server_is_ready(shared_server: Server) -> None:
    for _ in range(20):
        wait_until(lambda: shared_server.request("GET", "/readyz").status == 200)
