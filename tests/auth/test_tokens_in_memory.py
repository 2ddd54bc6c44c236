"""What one process knows of the tokens, and what it does while the store cannot be read."""

from pathlib import Path

import pytest

from orderapi.auth import Tokens, new_token
from orderapi.errors import StoreUnavailable, Unauthorized
from orderapi.ops import tokens as operator
from orderapi.store.sqlite.store import SqliteStore


@pytest.fixture(autouse=True)
def _poll_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request ask the store whether the tokens have changed."""
    monkeypatch.setattr("orderapi.auth.POLL_S", 0.0)


def create(store: SqliteStore, client_id: str = "shop", expires: str | None = None) -> str:
    made = operator.create_token(store, client_id, label="", scopes=(), expires=expires)
    return made.token


def test_known_tokens_go_on_working_while_the_store_cannot_be_read(
    store: SqliteStore, database: Path
) -> None:
    known = Tokens(store)
    token = create(store)
    assert known.find_caller(token).client_id == "shop"
    database.rename(database.with_name("moved.db"))
    assert known.find_caller(token).client_id == "shop"
    # An unknown token may have been created a moment ago: nobody can say that it is not valid.
    with pytest.raises(StoreUnavailable):
        known.find_caller(new_token())
    with pytest.raises(Unauthorized):
        known.find_caller("nonsense")
    database.with_name("moved.db").rename(database)
    with pytest.raises(Unauthorized):
        known.find_caller(new_token())


def test_a_process_that_never_read_the_tokens_refuses_nobody_as_unknown(
    store: SqliteStore, database: Path
) -> None:
    token = create(store)
    database.rename(database.with_name("moved.db"))
    fresh = Tokens(store)
    with pytest.raises(StoreUnavailable):
        fresh.find_caller(token)
    database.with_name("moved.db").rename(database)
    assert fresh.find_caller(token).client_id == "shop"


def test_the_last_use_is_written_outside_of_requests(store: SqliteStore) -> None:
    known = Tokens(store)
    token = create(store)
    known.find_caller(token)
    (before,) = operator.list_tokens(store)
    assert before.last_used_at is None
    known.close()
    (after,) = operator.list_tokens(store)
    assert after.last_used_at is not None
    assert after.last_used_at >= after.created_at


def test_a_use_that_cannot_be_written_is_written_later(store: SqliteStore, database: Path) -> None:
    known = Tokens(store)
    token = create(store)
    known.find_caller(token)
    database.rename(database.with_name("moved.db"))
    known.close()
    database.with_name("moved.db").rename(database)
    known.close()
    (after,) = operator.list_tokens(store)
    assert after.last_used_at is not None


def test_only_the_hash_is_stored(store: SqliteStore, database: Path) -> None:
    token = create(store)
    store.close()
    stored = b"".join(file.read_bytes() for file in database.parent.iterdir() if file.is_file())
    assert token.encode() not in stored
    assert token.split("_")[1].encode() not in stored
