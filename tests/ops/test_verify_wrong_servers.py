"""For each check of `orderapi verify` there is a server that fails it."""

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orderapi.ops.target import ServerAnswer
from tests.support.front import (
    CONFLICT,
    CONFLICT_LIST,
    CREATE,
    FAIL,
    FAIL_LIST,
    RETRY,
    RETRY_LIST,
    ROWS,
    SECOND_RETRY,
    SECOND_RETRY_LIST,
    SHOW,
    SHOW_LIST,
    STEPS,
    Tamper,
    body,
    fronted,
    line,
    run,
    verdicts,
)
from tests.support.ports import free_port
from tests.support.running import Server, serving


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A right server, with fault injection."""
    with serving(tmp_path_factory.mktemp("live")) as running:
        yield running


def status(code: int) -> Tamper:
    return lambda answer: replace(answer, status=code)


def member(name: str, value: object) -> Tamper:
    return lambda answer: replace(answer, body=json.dumps(answer.document | {name: value}).encode())


def header(name: str, value: str) -> Tamper:
    return lambda answer: replace(answer, headers={**answer.headers, name: value})


def without_header(name: str) -> Tamper:
    return lambda answer: replace(
        answer, headers={key: value for key, value in answer.headers.items() if key != name}
    )


def orders(change: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> Tamper:
    return lambda answer: replace(
        answer, body=json.dumps({"orders": change(answer.document["orders"])}).encode()
    )


def twice(found: list[dict[str, object]]) -> list[dict[str, object]]:
    return found + [order | {"order_id": str(uuid.uuid4())} for order in found]


def changed(found: list[dict[str, object]]) -> list[dict[str, object]]:
    return [order | {"quantity": 5} for order in found]


@pytest.mark.parametrize(
    ("request_number", "tamper", "failed", "words"),
    [
        (CREATE, status(200), "step 1", "the status is not 201"),
        (CREATE, member("quantity", 2), "step 1", "not the order that was sent"),
        (CREATE, member("quantity", True), "step 1", "not the order that was sent"),
        (CREATE, member("status", "pending"), "step 1", "not the order that was sent"),
        (CREATE, member("client_id", "public"), "step 1", "not the order that was sent"),
        (CREATE, member("order_id", "../healthz"), "step 1", "there is no order_id"),
        (CREATE, body(b"<html>"), "step 1", "there is no order_id"),
        (CREATE, body(b"[1]"), "step 1", "there is no order_id"),
        (
            CREATE,
            header("location", "/orders/1"),
            "step 1",
            "the Location is not that of the order",
        ),
        (CREATE, without_header("location"), "step 1", "the Location is not that of the order"),
        (
            CREATE,
            header("idempotent-replayed", "true"),
            "step 1",
            "the answer is marked as a replay",
        ),
        (RETRY, status(200), "step 2", "the status differs"),
        (RETRY, member("status", "created"), "step 2", "the body differs"),
        (RETRY, header("location", "/orders/1"), "step 2", "the Location differs"),
        (RETRY, without_header("idempotent-replayed"), "step 2", "is missing"),
        (RETRY_LIST, orders(twice), "step 2", "GET /orders returned 2 orders"),
        (CONFLICT, status(422), "step 3", "the status is not 409"),
        (CONFLICT, member("type", "about:blank"), "step 3", "not the problem idempotency-key"),
        (CONFLICT_LIST, orders(changed), "step 3", "GET /orders returned another order"),
        (CONFLICT_LIST, orders(twice), "step 3", "GET /orders returned 2 orders"),
        (CONFLICT_LIST, status(503), "step 3", "GET /orders returned no list of orders"),
        (FAIL, status(503), "step 4", "the status is not 500"),
        (FAIL, member("type", "/problems/internal-error"), "step 4", "not the problem simulated"),
        (FAIL_LIST, orders(lambda _: []), "step 4", "GET /orders returned no order instead"),
        (FAIL_LIST, orders(twice), "step 4", "GET /orders returned 2 orders instead"),
        (FAIL_LIST, body(b'{"orders": [1]}'), "step 4", "no list of orders"),
        (SECOND_RETRY, status(500), "step 5", "the status is not 201"),
        (SECOND_RETRY, without_header("idempotent-replayed"), "step 5", "is missing"),
        (SECOND_RETRY, member("order_id", "other"), "step 5", "not the order that was committed"),
        (SECOND_RETRY_LIST, orders(twice), "step 5", "GET /orders returned 2 orders"),
        (SHOW, status(404), "step 6", "the status is not 200"),
        (SHOW, member("quantity", 5), "step 6", "the answer is not the order of step 1"),
        (SHOW_LIST, orders(lambda _: []), "step 6", "the list for the key has no order"),
        (SHOW_LIST, orders(twice), "step 6", "the list for the key has 2 orders"),
    ],
)
def test_a_wrong_answer_fails_its_step(
    live: Server, request_number: int, tamper: Tamper, failed: str, words: str
) -> None:
    with fronted(live) as front:
        front.answers[request_number] = tamper
        result = run(front.url)
    assert result.exit_code == 1
    spoilt = {failed: "FAILED"}
    if failed == "step 1":
        spoilt |= dict.fromkeys(("step 2", "step 3", "step 6"), "skipped")
    assert verdicts(result) == dict.fromkeys(STEPS, "ok") | spoilt
    assert words in line(result, failed)
    assert "1 FAILED" in result.stdout


def test_a_server_that_makes_another_order_on_a_retry_is_detected(live: Server) -> None:
    with fronted(live) as front:
        front.keys[RETRY] = f"another-{uuid.uuid4()}"
        result = run(front.url, "--database", f"sqlite:///{live.database}")
    assert result.exit_code == 1
    assert verdicts(result)["step 2"] == "FAILED"
    assert "GET /orders returned 2 orders" in line(result, "step 2")
    assert verdicts(result)["rows of order 1"] == "FAILED"
    assert verdicts(result)["rows of order 2"] == "ok"


def test_a_server_that_answers_409_and_still_orders_is_detected(live: Server) -> None:
    problem = {"type": "/problems/idempotency-key-reused"}
    with fronted(live) as front:
        front.keys[CONFLICT] = f"another-{uuid.uuid4()}"
        front.answers[CONFLICT] = lambda _: ServerAnswer(409, {}, json.dumps(problem).encode())
        result = run(front.url)
    assert result.exit_code == 1
    assert verdicts(result)["step 3"] == "FAILED"
    assert "GET /orders returned 2 orders" in line(result, "step 3")


def test_a_server_that_fails_before_its_commit_is_detected(live: Server) -> None:
    problem = {"type": "/problems/simulated-failure"}
    with fronted(live) as front:
        # This server makes the order only when it is retried.
        front.answers[FAIL] = lambda _: ServerAnswer(500, {}, json.dumps(problem).encode())
        front.answers[FAIL_LIST] = orders(lambda _: [])
        front.answers[SECOND_RETRY] = without_header("idempotent-replayed")
        result = run(front.url)
    assert result.exit_code == 1
    assert verdicts(result)["step 4"] == verdicts(result)["step 5"] == "FAILED"


@pytest.mark.parametrize(
    ("request_number", "tamper", "words"),
    [
        (FAIL, without_header("location"), "the Location is not that of the order"),
        (FAIL_LIST, orders(twice), "GET /orders returned 2 orders"),
    ],
)
def test_with_fault_injection_off_a_wrong_second_order_still_fails(
    tmp_path: Path, request_number: int, tamper: Tamper, words: str
) -> None:
    with serving(tmp_path, FAULT_INJECTION="off") as server, fronted(server) as front:
        front.answers[request_number] = tamper
        result = run(front.url)
    assert result.exit_code == 1
    assert words in line(result, "step 4")
    assert verdicts(result)["step 4"] == "FAILED"
    assert verdicts(result)["step 5"] == "skipped"


def test_a_missing_row_is_detected(live: Server) -> None:
    def lose_event(answer: ServerAnswer) -> None:
        order_id = answer.document["orders"][0]["order_id"]
        with sqlite3.connect(live.database, timeout=5) as db:
            deleted = db.execute("DELETE FROM events WHERE order_id = ?", (order_id,))
            assert deleted.rowcount == 1
        db.close()

    with fronted(live) as front:
        front.commits[SECOND_RETRY_LIST] = lose_event
        result = run(front.url, "--database", f"sqlite:///{live.database}")
    assert result.exit_code == 1
    assert verdicts(result) == dict.fromkeys(STEPS + ROWS, "ok") | {"rows of order 2": "FAILED"}
    assert "with 1, 1 and 0" in line(result, "rows of order 2")


@pytest.mark.sqlite_only("the test reads the files of two servers")
def test_another_servers_database_fails_the_rows(live: Server, server: Server) -> None:
    result = run(live.url, "--database", f"sqlite:///{server.database}")
    assert result.exit_code == 1
    assert verdicts(result) == dict.fromkeys(STEPS, "ok") | dict.fromkeys(ROWS, "FAILED")
    assert "is this the server's database?" in line(result, "rows of order 1")


def test_a_redirect_is_not_followed(live: Server) -> None:
    with fronted(live) as front, fronted(live) as elsewhere:
        redirect = ServerAnswer(308, {"location": f"{elsewhere.url}/orders"}, b"")
        front.answers[CREATE] = lambda _: redirect
        result = run(front.url)
        assert elsewhere.requests == []
    assert result.exit_code == 1
    assert f"saw 308 to {elsewhere.url}/orders, not followed" in line(result, "step 1")


def test_control_characters_of_a_server_do_not_reach_the_terminal(live: Server) -> None:
    with fronted(live) as front:
        front.answers[CREATE] = body(b"\x1b]0;owned\x07\nok       step 1 \xe2\x80\xae" + b"x" * 999)
        result = run(front.url)
    assert result.stdout.isascii()
    assert all(character.isprintable() or character == "\n" for character in result.stdout)
    assert "\nok       step 1" not in result.stdout
    assert len(line(result, "step 1, create")) < 400


def test_a_server_that_cannot_be_reached_fails_in_a_line() -> None:
    result = run(f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "saw no answer: Connection refused" in line(result, "step 1")
    assert verdicts(result) == dict.fromkeys(STEPS, "skipped") | {"step 1": "FAILED"}
    assert "SELECT" not in result.stdout


def test_if_the_server_goes_away_the_remaining_steps_fail(tmp_path: Path) -> None:
    with serving(tmp_path) as server, fronted(server) as front:

        def refuse(_: ServerAnswer) -> ServerAnswer:
            raise ConnectionResetError

        for number in range(CONFLICT, SHOW_LIST + 1):
            front.answers[number] = refuse
        result = run(front.url, "--database", f"sqlite:///{server.database}")
    assert result.exit_code == 1
    assert verdicts(result) == {
        **dict.fromkeys(("step 1", "step 2"), "ok"),
        **dict.fromkeys(("step 3", "step 4", "step 5", "step 6"), "FAILED"),
        **dict.fromkeys(ROWS, "ok"),
    }
