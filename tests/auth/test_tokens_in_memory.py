"""What one process knows of the tokens, and what it does while the store cannot be read."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import TypeVar

import pytest

from orderapi.auth import Tokens, new_token
from orderapi.errors import StoreUnavailable, Unauthorized
from orderapi.ops import tokens as operator
from orderapi.store.contract import Store
from orderapi.store.sqlite.store import SqliteStore
from orderapi.store.statements.transaction import ReadTx
from tests.support.engines import Engine

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _poll_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request ask the store whether the tokens have changed."""
    monkeypatch.setattr("orderapi.auth.POLL_S", 0.0)


def create(store: Store, client_id: str = "shop", expires: str | None = None) -> str:
    made = operator.create_token(store, client_id, label="", scopes=(), expires=expires)
    return made.token


def test_known_tokens_go_on_working_while_the_store_cannot_be_read(
    store: Store, engine: Engine
) -> None:
    known = Tokens(store)
    token = create(store)
    assert known.find_caller(token).client_id == "shop"
    with engine.away():
        assert known.find_caller(token).client_id == "shop"
        # An unknown token may have been created a moment ago, so the process cannot refuse it.
        with pytest.raises(StoreUnavailable):
            known.find_caller(new_token())
        with pytest.raises(Unauthorized):
            known.find_caller("nonsense")
    with pytest.raises(Unauthorized):
        known.find_caller(new_token())


def test_a_process_that_never_read_the_tokens_refuses_no_token_as_unknown(
    store: Store, engine: Engine
) -> None:
    token = create(store)
    fresh = Tokens(store)
    with engine.away(), pytest.raises(StoreUnavailable):
        fresh.find_caller(token)
    assert fresh.find_caller(token).client_id == "shop"


class SlowStore(SqliteStore):
    """A store whose reads wait until the test releases them, as with a slow server."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.was_asked, self.may_answer = Event(), Event()

    def read_one(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        self.was_asked.set()
        assert self.may_answer.wait(60)
        return super().read_one(fn, deadline)


@pytest.mark.sqlite_only("the store is made slow in this process, in the place of a server")
def test_requests_before_the_end_of_the_first_poll_wait_for_it(
    store: Store, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orderapi.auth.POLL_S", 60.0)
    token = create(store)
    slow = SlowStore(database)
    known = Tokens(slow)
    with closing(slow), ThreadPoolExecutor(3) as threads:
        asking = threads.submit(known.find_caller, token)
        assert slow.was_asked.wait(60)
        others = [threads.submit(known.find_caller, token) for _ in range(2)]
        # A request that did not wait would be refused in this time.
        wait(others, timeout=0.2)
        slow.may_answer.set()
        assert {each.result().client_id for each in [asking, *others]} == {"shop"}


def test_the_last_use_is_written_outside_of_requests(store: Store) -> None:
    known = Tokens(store)
    token = create(store)
    known.find_caller(token)
    (before,) = operator.list_tokens(store)
    assert before.last_used_at is None
    known.close()
    (after,) = operator.list_tokens(store)
    assert after.last_used_at is not None
    assert after.last_used_at >= after.created_at


def test_a_use_that_cannot_be_written_is_written_later(store: Store, engine: Engine) -> None:
    known = Tokens(store)
    token = create(store)
    known.find_caller(token)
    with engine.away():
        known.close()
    known.close()
    (after,) = operator.list_tokens(store)
    assert after.last_used_at is not None


@pytest.mark.sqlite_only("the test reads every byte of the files of a database")
def test_only_the_hash_is_stored(store: Store, database: Path) -> None:
    token = create(store)
    store.close()
    stored = b"".join(file.read_bytes() for file in database.parent.iterdir() if file.is_file())
    assert token.encode() not in stored
    assert token.split("_")[1].encode() not in stored
