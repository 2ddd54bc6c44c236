"""Every endpoint that writes is idempotent. A new endpoint gets these tests automatically."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.store.sqlite.store import SqliteStore
from tests.support.engines import Engine
from tests.support.http_messages import check_problem, from_client
from tests.support.promises import promise
from tests.support.running import ORDER, Answer, Server

SAFE = {"GET", "HEAD", "OPTIONS"}

# Two valid payloads of different meaning for each endpoint that writes.
EXAMPLES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("POST", "/orders"): (ORDER, ORDER | {"quantity": 2}),
}


def writing_endpoints() -> list[tuple[str, str]]:
    """Return the method and the rule of each endpoint that writes. No database is opened."""
    app = create_app(read_settings({}), SqliteStore(Path("never-opened.db")))
    return [
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - SAFE)
    ]


each_endpoint = pytest.mark.parametrize(("method", "path"), writing_endpoints())


def send(
    client: FlaskClient, method: str, path: str, key: str | None, payload: Any, **headers: str
) -> Answer:
    sent = {"Content-Type": "application/json"} | headers
    if key is not None:
        sent["Idempotency-Key"] = key
    return from_client(client.open(path, method=method, json=payload, headers=sent))


def test_there_is_an_endpoint_that_writes_and_an_example_for_each() -> None:
    assert set(writing_endpoints()) == set(EXAMPLES)


@each_endpoint
def test_a_key_is_required(client: FlaskClient, engine: Engine, method: str, path: str) -> None:
    payload, _ = EXAMPLES[method, path]
    before = engine.dump()
    check_problem(send(client, method, path, None, payload), "idempotency-key-missing")
    check_problem(send(client, method, path, "", payload), "idempotency-key-invalid")
    assert engine.dump() == before


@promise("a replay is the same answer")
@each_endpoint
def test_a_retry_is_a_replay(client: FlaskClient, engine: Engine, method: str, path: str) -> None:
    payload, _ = EXAMPLES[method, path]
    first = send(client, method, path, "key", payload)
    assert 200 <= first.status < 300
    assert "idempotent-replayed" not in first.headers
    after_first = engine.dump()
    again = send(client, method, path, '"key"', dict(reversed(payload.items())))
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers.get("location") == first.headers.get("location")
    assert again.headers["idempotent-replayed"] == "true"
    assert engine.dump() == after_first


@promise("a conflict touches nothing")
@each_endpoint
def test_another_payload_is_a_conflict(
    client: FlaskClient, engine: Engine, method: str, path: str
) -> None:
    payload, other = EXAMPLES[method, path]
    first = send(client, method, path, "key", payload)
    after_first = engine.dump()
    check_problem(send(client, method, path, "key", other), "idempotency-key-reused")
    assert engine.dump() == after_first
    assert send(client, method, path, "key", payload).body == first.body


@promise("a failure is not remembered")
@each_endpoint
def test_a_refusal_is_not_remembered(
    client: FlaskClient, engine: Engine, method: str, path: str
) -> None:
    payload, _ = EXAMPLES[method, path]
    before = engine.dump()
    unknown_field = payload | {"no_such_field": 1}
    check_problem(send(client, method, path, "key", unknown_field), "validation-failed")
    assert engine.dump() == before
    assert "idempotent-replayed" not in send(client, method, path, "key", payload).headers


@promise("an error is not a verdict")
@each_endpoint
def test_a_retry_after_a_failure_after_the_commit_returns_the_result(
    client: FlaskClient, engine: Engine, method: str, path: str
) -> None:
    payload, _ = EXAMPLES[method, path]
    failing = {"X-Debug-Fail-After-Commit": "true"}
    check_problem(send(client, method, path, "key", payload, **failing), "simulated-failure")
    after_failure = engine.dump()
    assert 200 <= send(client, method, path, "key", payload).status < 300
    assert engine.dump() == after_failure


@promise("one key, one effect")
@promise("duplicates in flight wait")
@each_endpoint
def test_duplicates_in_flight_have_one_effect(
    shared_server: Server, method: str, path: str
) -> None:
    payload, _ = EXAMPLES[method, path]
    key = f"race-{uuid4()}"
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}

    def race(_: int) -> Answer:
        return shared_server.request(method, path, json.dumps(payload), headers)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(race, range(16)))
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert 200 <= answers[0].status < 300
    firsts = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
    assert len(firsts) == 1
    saved = shared_server.rows(f"SELECT 1 FROM idempotency_keys WHERE idempotency_key = '{key}'")
    assert len(saved) == 1


@each_endpoint
def test_the_key_is_in_the_log_only_as_a_hash(
    shared_server: Server, method: str, path: str
) -> None:
    payload, _ = EXAMPLES[method, path]
    key, request_id = f"secret-{uuid4()}", str(uuid4())
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": key,
        "X-Request-ID": request_id,
    }
    shared_server.request(method, path, json.dumps(payload), headers)
    (line,) = shared_server.lines_of(request_id)
    assert re.fullmatch("[0-9a-f]{12}", line["key_hash"])
    assert key not in shared_server.log_path.read_text()
