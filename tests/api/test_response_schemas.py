"""Every answer of the views matches the schema that is published for it.

The tests that ask the application in this process check each of their answers in the same way.
"""

import pytest
from flask.testing import FlaskClient
from marshmallow import Schema

from orderapi.web.schemas.responses import RESPONSES, WITHOUT_SCHEMA
from tests.support.engines import Engine
from tests.support.http_messages import ask, order
from tests.support.response_schemas import ROUTES, endpoint_of
from tests.support.running import ORDER, Answer

SUCCESSES = [(endpoint, status) for endpoint, found in RESPONSES.items() for status in found]


def answers_of_each_view(client: FlaskClient) -> dict[tuple[str, int], Answer]:
    placed = [order(client, f"key-{number}") for number in range(3)]
    order(client, "key-4", ORDER | {"customer_id": "caf\u00e9"})
    asked = [
        *(("/orders", "POST", answer) for answer in placed),
        *(
            (target, "GET", ask(client, target))
            for target in (
                placed[0].headers["location"],
                "/orders?limit=2",
                "/orders",
                "/events?limit=2",
                "/events?after=4",
                "/events",
                "/healthz",
                "/readyz",
                "/problems/not-found",
            )
        ),
    ]
    return {
        (endpoint_of(target.partition("?")[0], method), answer.status): answer
        for target, method, answer in asked
    }


def test_every_view_has_a_schema_for_each_of_its_successes(client: FlaskClient) -> None:
    assert set(answers_of_each_view(client)) == set(SUCCESSES)


def test_every_view_is_described_or_named_as_one_without_json() -> None:
    assert {rule.endpoint for rule in ROUTES.url_map.iter_rules()} == {
        *RESPONSES,
        *WITHOUT_SCHEMA,
    }


@pytest.mark.parametrize(("endpoint", "status"), SUCCESSES)
def test_a_schema_refuses_any_change_of_its_answer(
    client: FlaskClient, endpoint: str, status: int
) -> None:
    document = answers_of_each_view(client)[endpoint, status].json
    check_that_changes_are_refused(RESPONSES[endpoint][status], document)


def check_that_changes_are_refused(schema: Schema, document: dict[str, object]) -> None:
    assert schema.validate(document) == {}
    for name in document:
        without = {key: value for key, value in document.items() if key != name}
        assert name in schema.validate(without)
        assert name in schema.validate(document | {name: {"another": "type"}})
    assert "surprise" in schema.validate(document | {"surprise": 1})


def test_a_failure_has_the_schema_of_problems(client: FlaskClient, engine: Engine) -> None:
    slugs = {
        answer.json["type"]
        for answer in (
            ask(client, "/nowhere"),
            ask(client, "/orders", "PUT"),
            ask(client, "/orders?limit=0"),
            order(client, None),
            order(client, "a b"),
            order(client, "key-1", b"{"),
            order(client, "key-1", {}),
            order(client, "key-1", b" " * 20_000),
            order(client, "key-1", X_Debug_Fail_After_Commit="true"),
            order(client, "key-1", ORDER | {"quantity": 2}),
        )
    }
    with engine.away():
        slugs.add(ask(client, "/orders").json["type"])
    assert slugs == {
        "/problems/not-found",
        "/problems/method-not-allowed",
        "/problems/validation-failed",
        "/problems/idempotency-key-missing",
        "/problems/idempotency-key-invalid",
        "/problems/malformed-json",
        "/problems/body-too-large",
        "/problems/simulated-failure",
        "/problems/idempotency-key-reused",
        "/problems/store-unavailable",
    }
