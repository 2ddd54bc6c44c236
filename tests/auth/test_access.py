"""Which requests are accepted: tokens, scopes, and the paths that are open to all."""

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderapi import fields
from orderapi.app import create_app
from orderapi.auth import new_token
from orderapi.settings import read_settings
from orderapi.store.sqlite.store import SqliteStore
from tests.support.engines import ENGINES
from tests.support.http_messages import check_problem, stores_nothing
from tests.support.running import Server, serving
from tests.support.tokens import create, get, order, revoke
from tests.support.waiting import wait_until

OPEN = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/problems/not-found",
    "/openapi.json",
    "/docs",
    "/docs/docs.js",
]
# The contract names these paths; `/docs` may have files of its own.
OPEN_RULES = {"/healthz", "/readyz", "/metrics", "/problems/", "/openapi.json", "/docs", "/docs/"}
GUARDED = ["/orders", "/orders/0190f3b2-0000-7000-8000-000000000000", "/events"]


@pytest.fixture(scope="module")
def shared_guarded(tmp_path_factory: pytest.TempPathFactory, engine_name: str) -> Iterator[Server]:
    """A server that requires tokens, for tests that store nothing but tokens."""
    directory = tmp_path_factory.mktemp("guarded")
    engine = ENGINES[engine_name](directory)
    with serving(directory, engine, AUTH="required") as running, stores_nothing(running):
        yield running
    engine.remove()


@pytest.mark.parametrize("path", OPEN)
def test_what_monitors_and_readers_of_problems_need_is_open(
    shared_guarded: Server, path: str
) -> None:
    assert shared_guarded.request("GET", path).status == 200


def test_every_other_path_needs_a_token(shared_guarded: Server) -> None:
    for path in GUARDED:
        answer = shared_guarded.request("GET", path)
        check_problem(answer, "unauthorized")
        # RFC 6750, section 3: without a token in the request, the answer has no error code.
        assert answer.headers["www-authenticate"] == 'Bearer realm="orderapi"'
    check_problem(shared_guarded.order("key-1"), "unauthorized")
    # A path or a method that does not exist is answered as such before the token is checked.
    check_problem(shared_guarded.request("GET", "/nowhere"), "not-found")
    check_problem(shared_guarded.request("DELETE", "/orders"), "method-not-allowed")
    assert shared_guarded.request("OPTIONS", "/orders").status == 204
    assert set(shared_guarded.counts().values()) == {0}


def test_every_rule_but_the_open_ones_needs_a_token(store: SqliteStore) -> None:
    """A resource that is added later needs a token unless it is listed here."""
    app = create_app(read_settings({"ORDERAPI_AUTH": "required"}), store)
    client = app.test_client()
    needs_none = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]*>", "not-found", rule.rule)
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            if client.open(path, method=method).status_code != 401:
                needs_none.add(rule.rule.partition("<")[0])
    assert needs_none <= OPEN_RULES


def test_a_refusal_does_not_tell_why(shared_guarded: Server) -> None:
    _, expired = create(shared_guarded.engine, "shop", expires="1s")
    revoked_id, revoked = create(shared_guarded.engine, "shop")
    revoke(shared_guarded.engine, revoked_id)
    wait_until(lambda: get(shared_guarded, "/orders", revoked).status == 401, "revoked")
    wait_until(lambda: get(shared_guarded, "/orders", expired).status == 401, "expired")
    sent = {
        "unknown": f"Bearer {new_token()}",
        "expired": f"Bearer {expired}",
        "revoked": f"Bearer {revoked}",
        "malformed": "Bearer nonsense",
        "empty": "Bearer ",
        "mistyped": f"Bearer {revoked[:-1]}{'a' if revoked[-1] != 'a' else 'b'}",
        "not ASCII": "Bearer caf\u00e9",
        "two tokens": f"Bearer {revoked}, Bearer {revoked}",
    }
    seen = set()
    for name, header in sent.items():
        answer = shared_guarded.request("GET", "/orders", headers={"Authorization": header})
        problem = check_problem(answer, "unauthorized")
        del problem["request_id"]
        seen.add((json.dumps(problem), answer.headers["www-authenticate"]))
        assert len(seen) == 1, name
    assert {challenge for _, challenge in seen} == {
        'Bearer realm="orderapi", error="invalid_token"'
    }


def test_a_token_is_checked_before_the_body_is_read(shared_guarded: Server) -> None:
    huge = b"x" * 40_000
    headers = {"Content-Type": "text/plain", "Idempotency-Key": "key-1"}
    check_problem(shared_guarded.request("POST", "/orders", huge, headers), "unauthorized")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_name_of_the_scheme_has_any_case(shared_guarded: Server, scheme: str) -> None:
    _, token = create(shared_guarded.engine, "shop")
    headers = {"Authorization": f"{scheme} {token}"}
    assert shared_guarded.request("GET", "/orders", headers=headers).status == 200


def test_each_scope_allows_its_own_methods(guarded: Server) -> None:
    _, reading = create(guarded.engine, "shop", "read")
    _, writing = create(guarded.engine, "shop", "write")
    refused = order(guarded, "key-1", reading)
    check_problem(refused, "insufficient-scope")
    assert 'error="insufficient_scope", scope="write"' in refused.headers["www-authenticate"]
    assert set(guarded.counts().values()) == {0}
    made = order(guarded, "key-1", writing)
    assert made.status == 201
    for path in ("/orders", made.headers["location"], "/events"):
        assert get(guarded, path, reading).status == 200
        check_problem(get(guarded, path, writing), "insufficient-scope")


def test_a_restart_keeps_what_was_revoked(guarded: Server) -> None:
    token_id, token = create(guarded.engine, "shop")
    assert get(guarded, "/orders", token).status == 200
    guarded.kill()
    revoke(guarded.engine, token_id)
    guarded.start()
    check_problem(get(guarded, "/orders", token), "unauthorized")


def test_without_tokens_every_caller_is_the_public_client(server: Server) -> None:
    answer = order(server, "key-1", "nonsense")
    assert answer.status == 201


def test_what_was_made_without_tokens_belongs_to_the_client_public(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        first = server.order("key-1")
        server.stop()
        server.settings["AUTH"] = "required"
        server.start()
        _, token = create(server.engine, "public")
        replay = order(server, "key-1", token)
        assert (replay.status, replay.body) == (201, first.body)
        assert replay.headers["idempotent-replayed"] == "true"


def test_a_token_has_the_form_that_scanners_look_for() -> None:
    token = new_token()
    prefix, secret, checksum = token.split("_")
    assert prefix == "oapi"
    assert (len(secret), len(checksum)) == (32, 6)
    value = 0
    for digit in checksum:
        value = value * 62 + fields.BASE62.index(digit)
    assert value == zlib.crc32(secret.encode())
    assert fields.is_token(token)
    assert not fields.is_token(token + "\n")
    assert len({new_token() for _ in range(1000)}) == 1000
