"""`orderapi token`: creates, lists and revokes the tokens of clients."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orderapi.auth import SCOPES, new_token, shown_prefix, token_hash
from orderapi.errors import TokenRefused
from orderapi.records import NewToken, Token
from orderapi.store.contract import Store
from orderapi.store.statements.timestamp import text_of

LABEL_MAX_CHARS = 100

_CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SPAN = re.compile(r"([0-9]{1,6})([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A token that was just created; `token` is shown once and kept nowhere."""

    token_id: int
    token: str
    expires_at: str | None

    def __repr__(self) -> str:
        return f"CreatedToken(token_id={self.token_id})"


def create_token(
    store: Store, client_id: str, *, label: str, scopes: tuple[str, ...], expires: str | None
) -> CreatedToken:
    """Create a token for a client and store its hash.

    `scopes` are names of `auth.SCOPES`; none means all. `expires` is a duration (`90d`, `12h`,
    `30m`, `9s`) or an RFC 3339 time; None means never.

    Raises TokenRefused when an argument is not valid, and StoreUnavailable when the store cannot
    write.
    """
    if not _CLIENT.fullmatch(client_id):
        raise TokenRefused(
            "CLIENT: expected 1 to 64 letters, digits, dots, hyphens and underscores, with a letter"
            " or a digit first"
        )
    if len(label) > LABEL_MAX_CHARS or not (label.isprintable() or not label):
        raise TokenRefused(f"--label: expected at most {LABEL_MAX_CHARS} printable characters")
    expires_at = None if expires is None else _expiry(expires, datetime.now(UTC))
    token = new_token()
    granted = [scope for scope in SCOPES if scope in scopes] or list(SCOPES)
    new = NewToken(
        token_hash(token), shown_prefix(token), client_id, label, " ".join(granted), expires_at
    )
    return CreatedToken(store.write(lambda tx: tx.tokens.insert_token(new)), token, expires_at)


def list_tokens(store: Store) -> list[Token]:
    """List every token, also those that expired or were revoked.

    Raises StoreUnavailable when the store cannot be read.
    """
    return store.read(lambda tx: tx.tokens.list_tokens())


def revoke_token(store: Store, token_id: int) -> None:
    """Revoke a token; each process of the service refuses it within a second.

    Raises TokenRefused when there is no token with this id, and StoreUnavailable when the store
    cannot write.
    """
    if not store.write(lambda tx: tx.tokens.revoke(token_id)):
        raise TokenRefused(f"ID: there is no token {token_id}")


def state_of(token: Token, now: datetime) -> str:
    """Tell in one word whether a token is `valid`, `expired` or `revoked` at a time."""
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is not None and datetime.fromisoformat(token.expires_at) <= now:
        return "expired"
    return "valid"


def _expiry(text: str, now: datetime) -> str:
    """Give the time at which a token expires, as it is stored."""
    span = _SPAN.fullmatch(text)
    try:
        if span:
            at = now + timedelta(**{_UNITS[span[2]]: int(span[1])})
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise ValueError("the time has no zone")
            at = at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise TokenRefused(
            "--expires: expected a duration such as 90d, 12h, 30m or 9s, or an RFC 3339 time such"
            " as 2027-01-31T12:00:00Z"
        ) from error
    if at <= now:
        raise TokenRefused("--expires: this time has passed already")
    return text_of(at)
