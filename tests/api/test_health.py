"""`/healthz` and `/readyz`."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from flask.testing import FlaskClient

from orderapi.web.health import FRESH_S
from tests.support.engines import Engine
from tests.support.http_messages import ask, check_problem, order
from tests.support.running import Answer, Server
from tests.support.waiting import awake_s, wait_until

NEVER = "1970-01-01T00:00:00.000Z"


@pytest.fixture
def _long_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a commit prove readiness for longer than a test may take."""
    monkeypatch.setattr("orderapi.web.health.FRESH_S", 60.0)


def probed_at(engine: Engine) -> str:
    ((checked_at,),) = engine.query("SELECT checked_at FROM readiness_probe")
    return str(checked_at)


def test_a_serving_process_is_healthy(client: FlaskClient) -> None:
    answer = ask(client, "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"


def test_a_store_that_commits_is_ready(client: FlaskClient, engine: Engine) -> None:
    assert ask(client, "/readyz").status == 200
    assert probed_at(engine) > NEVER


@pytest.mark.usefixtures("_long_fresh")
def test_a_recent_commit_proves_readiness_without_a_probe(
    client: FlaskClient, engine: Engine
) -> None:
    order(client, "key-1")
    assert ask(client, "/readyz").status == 200
    assert probed_at(engine) == NEVER


def test_the_probe_is_rewritten_at_most_once_every_2_s(client: FlaskClient, engine: Engine) -> None:
    written: list[str] = []

    def is_rewritten() -> bool:
        ask(client, "/readyz")
        written.append(probed_at(engine))
        return written[-1] != written[0]

    wait_until(is_rewritten)
    first, second = (datetime.fromisoformat(written[at]) for at in (0, -1))
    assert set(written) == {written[0], written[-1]}
    assert (second - first).total_seconds() > FRESH_S - 0.01


@pytest.mark.usefixtures("_long_fresh")
def test_concurrent_requests_share_one_readiness_probe(client: FlaskClient, engine: Engine) -> None:
    engine.execute("CREATE TABLE probes (checked_at TEXT)")
    engine.before("UPDATE", "readiness_probe", "INSERT INTO probes VALUES (NEW.checked_at)")
    start = threading.Barrier(8)

    def probe(_: int) -> int:
        probing = client.application.test_client()
        start.wait()
        return ask(probing, "/readyz").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(probe, range(8))) == {200}
    assert engine.query("SELECT COUNT(*) FROM probes") == [(1,)]


def test_a_probe_leaves_no_order_behind(client: FlaskClient) -> None:
    ask(client, "/readyz")
    assert ask(client, "/orders").json["orders"] == []


def test_concurrent_probes_all_answer_503_while_writes_cannot_commit(
    client: FlaskClient, engine: Engine
) -> None:
    ask(client, "/readyz")
    time.sleep(2.1)
    start = threading.Barrier(8)

    def probe(_: int) -> tuple[Answer, float]:
        probing = client.application.test_client()
        start.wait()
        asked_at = awake_s()
        return ask(probing, "/readyz"), awake_s() - asked_at

    with engine.held(), ThreadPoolExecutor(8) as pool:
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


def test_a_store_that_cannot_be_reached_is_not_ready_and_the_log_says_why(
    client: FlaskClient, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.away():
        check_problem(ask(client, "/readyz"), "store-unavailable")
    (record,) = (record for record in caplog.records if "store is unavailable" in record.message)
    reason = vars(record)["reason"]
    assert reason.startswith("the readiness probe did not commit: ")
    assert re.search(engine.why_away, reason)
    assert ask(client, "/healthz").status == 200


def test_every_worker_of_a_server_is_ready(shared_server: Server) -> None:
    for _ in range(20):
        wait_until(lambda: shared_server.request("GET", "/readyz").status == 200)
