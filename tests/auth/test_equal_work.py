"""A refusal takes the same work whatever is wrong with a token, so its time tells nothing.

These tests count the work instead of measuring its time: every call of a function, also in C. A
measured time would depend on the load of the machine, which can hide a difference.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest

from orderapi.auth import Tokens, new_token, token_hash
from orderapi.console.access import Access
from orderapi.errors import Unauthorized
from orderapi.records import NewToken
from orderapi.store.sqlite.store import SqliteStore

PAST = "2026-01-01T00:00:00.000Z"


def calls_of(call: Callable[[], object]) -> list[str]:
    """Give the names of all functions that a call calls, in their order."""
    names: list[str] = []

    def note(frame: FrameType, event: str, called: object) -> None:
        if event == "call":
            names.append(frame.f_code.co_qualname)
        elif event == "c_call":
            names.append(getattr(called, "__qualname__", repr(called)))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names


def insert(store: SqliteStore, digest: str, expires: str | None = None) -> int:
    new = NewToken(digest, "prefix", "shop", "", "read write", expires)
    return store.write(lambda tx: tx.tokens.insert_token(new))


def work_of(known: Tokens, token: str) -> list[str]:
    def be_refused() -> None:
        try:
            known.find_caller(token)
        except Unauthorized:
            return
        raise AssertionError("the token was not refused")

    return calls_of(be_refused)


def test_each_refusal_of_a_token_takes_the_same_work(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A poll of the store would be additional work, in whatever request is due for it.
    monkeypatch.setattr("orderapi.auth.POLL_S", 3600.0)
    unknown, expired, revoked, similar = (new_token() for _ in range(4))
    insert(store, token_hash(expired), PAST)
    revoked_id = insert(store, token_hash(revoked))
    store.write(lambda tx: tx.tokens.revoke(revoked_id))
    # Only the beginning of this hash is the same, as far as the index has it.
    insert(store, token_hash(similar)[:16] + "f" * 48, PAST)
    known = Tokens(store)
    work_of(known, new_token())  # The first request reads the tokens.
    works = [work_of(known, token) for token in (unknown, expired, revoked, similar)]
    assert works[0].count("compare_digest") == 1
    assert all(work == works[0] for work in works)


def test_a_token_is_compared_as_a_whole(store: SqliteStore) -> None:
    token = new_token()
    insert(store, token_hash(token)[:16] + "f" * 48)
    with pytest.raises(Unauthorized):
        Tokens(store).find_caller(token)


def test_a_guess_at_a_secret_of_the_console_takes_the_same_work_however_close_it_is() -> None:
    links: list[str] = []
    access = Access(links.append)
    access.announce_link()
    secret = links[0].partition("=")[2]
    guesses = ("x" * len(secret), secret[:-1] + "!")
    far, close = (calls_of(partial(access.enter, guess)) for guess in guesses)
    assert far == close
    assert close.count("compare_digest") == 1

    session = access.enter(secret)
    assert session
    guesses = ("x" * len(session), session[:-1] + "!")
    far, close = (calls_of(partial(access.is_known, guess)) for guess in guesses)
    assert far == close
    assert close.count("compare_digest") == 1
