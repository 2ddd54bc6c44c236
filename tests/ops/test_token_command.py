"""`orderapi token`: its arguments, its output, and what is stored."""

import re
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result

from orderapi import fields
from orderapi.auth import token_hash
from orderapi.cli.commands import main
from orderapi.store.contract import Store
from tests.support.engines import Engine


def run(engine: Engine, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments, "--database", engine.url_text])


def create(store: Store, engine: Engine, *arguments: str) -> str:
    del store  # The fixture `store` has made the database.
    result = run(engine, "create", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_token_is_printed_once_and_stored_as_a_hash(store: Store, engine: Engine) -> None:
    token = create(store, engine, "shop", "--label", "checkout")
    assert fields.is_token(token)
    (stored,) = store.read(lambda tx: tx.tokens.list_tokens())
    assert stored.token_hash == token_hash(token)
    assert (stored.client_id, stored.label, stored.scopes) == ("shop", "checkout", "read write")
    assert stored.expires_at is None
    listed = run(engine, "list").stdout
    assert token not in listed
    assert f"{token.removeprefix('oapi_')[:8]}..." in listed


def test_a_token_has_the_scopes_that_were_given(store: Store, engine: Engine) -> None:
    create(store, engine, "shop", "--scope", "write")
    create(store, engine, "shop", "--scope", "write", "--scope", "read")
    stored = store.read(lambda tx: tx.tokens.list_tokens())
    assert [token.scopes for token in stored] == ["write", "read write"]


@pytest.mark.parametrize(
    ("span", "seconds"), [("90d", 90 * 86_400), ("12h", 43_200), ("30m", 1_800), ("9s", 9)]
)
def test_a_token_expires_after_a_span(
    store: Store, engine: Engine, span: str, seconds: int
) -> None:
    before = datetime.now(UTC)
    create(store, engine, "shop", "--expires", span)
    (stored,) = store.read(lambda tx: tx.tokens.list_tokens())
    assert stored.expires_at is not None
    ends_in_s = (datetime.fromisoformat(stored.expires_at) - before).total_seconds()
    assert seconds - 1 <= ends_in_s <= seconds + 60


def test_a_token_expires_at_a_time_in_any_zone(store: Store, engine: Engine) -> None:
    create(store, engine, "shop", "--expires", "2099-01-31T12:00:00+02:00")
    (stored,) = store.read(lambda tx: tx.tokens.list_tokens())
    assert stored.expires_at == "2099-01-31T10:00:00.000Z"


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", ""],
        ["create", "a b"],
        ["create", "caf\u00e9"],
        ["create", "-shop"],
        ["create", "x" * 65],
        ["create", "shop", "--label", "x" * 101],
        ["create", "shop", "--label", "two\nlines"],
        ["create", "shop", "--scope", "admin"],
        ["create", "shop", "--expires", ""],
        ["create", "shop", "--expires", "1y"],
        ["create", "shop", "--expires", "0s"],
        ["create", "shop", "--expires", "9999999d"],
        ["create", "shop", "--expires", "2020-01-01T00:00:00Z"],
        ["create", "shop", "--expires", "2099-01-01T00:00:00"],
        ["revoke", "1"],
        ["revoke", "0"],
        ["revoke", "first"],
        ["create"],
        ["revoke"],
    ],
)
def test_wrong_use_creates_and_revokes_nothing(
    store: Store, engine: Engine, arguments: list[str]
) -> None:
    result = run(engine, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert store.read(lambda tx: tx.tokens.list_tokens()) == []


def test_the_list_says_what_ended_and_when(store: Store, engine: Engine) -> None:
    assert "there are no tokens" in run(engine, "list").stdout
    create(store, engine, "shop")
    create(store, engine, "desk", "--expires", "2099-01-31T12:00:00Z")
    assert run(engine, "revoke", "1").stdout == "token 1 is revoked\n"
    # A second time changes nothing.
    first = run(engine, "list").stdout
    assert run(engine, "revoke", "1").exit_code == 0
    assert run(engine, "list").stdout == first
    headings, shop, desk = first.splitlines()
    assert re.split(r"  +", headings) == [
        "ID", "CLIENT", "LABEL", "TOKEN", "SCOPES", "CREATED", "LAST USED", "STATE",
    ]  # fmt: skip
    assert re.search(r"never +revoked 20\S+Z$", shop)
    assert desk.endswith("valid, expires 2099-01-31T12:00:00.000Z")


@pytest.mark.parametrize("command", ["create", "list", "revoke"])
def test_each_command_has_help(command: str) -> None:
    result = CliRunner().invoke(main, ["token", command, "--help"])
    assert result.exit_code == 0
    assert "--database" in result.stdout
