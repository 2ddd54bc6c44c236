"""Finds the client of a bearer token in memory. The tokens in memory are updated from the store.

The secret in a token is random and has 190 bits, so nobody can try all secrets. Therefore the store
keeps a plain SHA-256 of the token. A slow hash would only make each request slower.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf

from orderapi import fields
from orderapi.errors import ScopeMissing, StoreUnavailable, Unauthorized
from orderapi.records import PUBLIC_CLIENT, Token
from orderapi.store.contract import Store
from orderapi.store.statements.timestamp import text_of

READ, WRITE = "read", "write"
SCOPES = (READ, WRITE)
# A process polls the store for changed tokens at most once in this time. A revocation must reach
# every process within a second.
POLL_S = 0.5
# The time in which a new process tries to read its tokens. A later poll gets only the minimum time
# of a read, because the known tokens stay valid if it fails.
FIRST_POLL_MAX_S = 5.0
# How often a process writes to the store when its tokens were last used. That time is accurate to a
# minute.
NOTE_USES_EVERY_S = 20.0
NOTE_USES_TIMEOUT_S = 2.0
assert POLL_S < 1.0
assert NOTE_USES_EVERY_S + NOTE_USES_TIMEOUT_S < 60.0

_SHOWN_CHARS = 8
# The length of the part of the hash by which tokens are found. The whole hash is then compared in
# constant time.
_INDEX_CHARS = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The client that sends a request, and its scopes. `token_id` is None if it has no token."""

    client_id: str
    scopes: frozenset[str]
    token_id: int | None

    def require(self, scope: str) -> None:
        """Check the scope. Raises ScopeMissing if the caller does not have it."""
        if scope not in self.scopes:
            raise ScopeMissing(scope)


# The caller of every request while the service requires no tokens.
ANONYMOUS = Caller(PUBLIC_CLIENT, frozenset(SCOPES), None)


@dataclass(frozen=True, slots=True)
class _KnownToken:
    """A token that was not revoked. `expires_at_s` is Unix time, and infinite without an expiry."""

    token_hash: str
    token_id: int
    caller: Caller
    expires_at_s: float


# An unknown token is compared with this one. No token has this hash, and it has expired.
_NO_TOKEN = _KnownToken("0" * 64, 0, Caller("", frozenset(), None), 0.0)


def new_token() -> str:
    """Return a new token with a random secret from the operating system."""
    return fields.format_token(
        "".join(secrets.choice(fields.BASE62) for _ in range(fields.TOKEN_SECRET_CHARS))
    )


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal. The store keeps only this hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def shown_prefix(token: str) -> str:
    """Return the first characters of a token's secret, so that people can recognise the token."""
    return token.removeprefix("oapi_")[:_SHOWN_CHARS]


class Tokens:
    """The tokens of a store, as one process knows them.

    Each request needs a look-up in memory. The store is polled for changes at most once in POLL_S.
    While the store cannot be read, the known tokens stay valid.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_index: dict[str, tuple[_KnownToken, ...]] = {}
        self._version: int | None = None
        self._is_current = False
        self._polled_at = float("-inf")
        # The request that polls holds this lock.
        self._polling = threading.Lock()
        self._uses = _Uses(store)

    def find_caller(self, token: str) -> Caller:
        """Return the caller to which a token belongs.

        Raises Unauthorized if there is no such token, or if it has expired or was revoked. Raises
        StoreUnavailable if the token is not known and the store cannot be read, because the token
        may have been created a moment ago.
        """
        self._poll()
        found = self._find(token)
        if found is None:
            if self._is_current or not fields.is_token(token):
                raise Unauthorized
            raise StoreUnavailable("the token is unknown, and the tokens cannot be read")
        self._uses.note(found.token_id)
        return found.caller

    def refuse_if_ended(self, token: str) -> None:
        """Check a token again, after a request has waited. The token was valid before the wait.

        Raises Unauthorized if the token has expired or was revoked in the meantime.
        """
        self._poll()
        if self._find(token) is None:
            raise Unauthorized

    def close(self) -> None:
        """Write the last uses to the store. Nothing is raised if the store cannot be written."""
        self._uses.write_down()

    def _find(self, token: str) -> _KnownToken | None:
        digest = token_hash(token)
        now_s = time.time()
        for candidate in self._by_index.get(digest[:_INDEX_CHARS], (_NO_TOKEN,)):
            # Both conditions are always computed, so that each refusal takes the same time.
            is_same = hmac.compare_digest(candidate.token_hash, digest)
            is_valid = now_s < candidate.expires_at_s
            if is_same and is_valid:
                return candidate
        return None

    def _poll(self) -> None:
        """Read the tokens again if they have changed, unless the last poll is younger than POLL_S.

        One request polls, and requests that arrive in the meantime wait for it. They must wait,
        because the known tokens may be as old as the last request, and a new process knows none.
        """
        if not self._is_due():
            return
        with self._polling:
            if self._is_due():
                longest_s = 0.0 if self._version is not None else FIRST_POLL_MAX_S
                self._refresh(time.monotonic() + longest_s)
                self._polled_at = time.monotonic()

    def _is_due(self) -> bool:
        return time.monotonic() - self._polled_at >= POLL_S

    def _refresh(self, deadline: float) -> None:
        try:
            version = self._store.read_one(lambda tx: tx.tokens.version(), deadline)
            if version != self._version:
                version, tokens = self._store.read(
                    lambda tx: (tx.tokens.version(), tx.tokens.list_tokens()), deadline
                )
                self._by_index = _indexed(tokens)
                self._version = version
            self._is_current = True
        except StoreUnavailable as error:
            if self._is_current:
                _log.warning(
                    "the tokens cannot be read; the tokens that this process knows stay valid",
                    extra={"reason": error.reason},
                )
            self._is_current = False


def _indexed(tokens: list[Token]) -> dict[str, tuple[_KnownToken, ...]]:
    index: dict[str, tuple[_KnownToken, ...]] = {}
    for token in tokens:
        if token.revoked_at is None:
            at = token.token_hash[:_INDEX_CHARS]
            index[at] = (*index.get(at, ()), _known(token))
    return index


def _known(token: Token) -> _KnownToken:
    caller = Caller(token.client_id, frozenset(token.scopes.split()), token.token_id)
    expires = token.expires_at
    expires_at_s = inf if expires is None else datetime.fromisoformat(expires).timestamp()
    return _KnownToken(token.token_hash, token.token_id, caller, expires_at_s)


class _Uses:
    """Keeps in memory when each token was last used, and writes it to the store periodically.

    A thread of its own writes, outside of the transactions of orders. If the store cannot be
    written, the uses are kept, and they are written later.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # The Unix time of the last use, by the id of the token.
        self._noted: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def note(self, token_id: int) -> None:
        """Note that a token was used just now."""
        self._noted[token_id] = time.time()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_down_often, daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                # The operating system refuses a new thread now. A later request tries again.
                self._thread = None

    def write_down(self) -> None:
        """Write the uses to the store. If this fails, the uses are kept for the next time."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        used_at = {
            token_id: text_of(datetime.fromtimestamp(at_s, UTC)) for token_id, at_s in noted.items()
        }
        deadline = time.monotonic() + NOTE_USES_TIMEOUT_S
        try:
            self._store.write(lambda tx: tx.tokens.note_uses(used_at), deadline)
        except StoreUnavailable:
            self._noted = noted | self._noted

    def _write_down_often(self) -> None:
        while True:
            time.sleep(NOTE_USES_EVERY_S)
            with suppress(Exception):
                self.write_down()
