"""Clients' tokens, of which the store has only the hash."""

from collections.abc import Mapping

from orderapi.records import NewToken, Token
from orderapi.store.statements.columns import TOKENS, select_list
from orderapi.store.statements.execution import Execute, values_of

# The page of a client lists at most this many tokens.
CLIENT_TOKENS_MAX = 200

_COLUMNS = select_list("tokens", TOKENS)


class TokenReads:
    """The statements that read the tokens."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def version(self) -> int:
        """Give the number that changes whenever a token is created, changed or revoked."""
        ((version,),) = self._execute("SELECT version FROM tokens_version", {})
        return int(version)

    def list_tokens(self) -> list[Token]:
        """List every token, also those that expired or were revoked, in the order of creation."""
        rows = self._execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY token_id", {})  # noqa: S608 - a constant of ours
        return [Token(*row) for row in rows]

    def list_tokens_of(self, client_id: str) -> list[Token]:
        """List the newest tokens of a client, the newest one first: CLIENT_TOKENS_MAX at most."""
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM tokens WHERE client_id = ?"  # noqa: S608 - a constant of ours
            f" ORDER BY token_id DESC LIMIT {CLIENT_TOKENS_MAX}",
            (client_id,),
        )
        return [Token(*row) for row in rows]


class TokenWrites(TokenReads):
    """The statements that read and write the tokens. New values get the time `now`."""

    def __init__(self, execute: Execute, now: str) -> None:
        super().__init__(execute)
        self._now = now

    def insert_token(self, new: NewToken) -> int:
        """Store a token and give its id."""
        ((token_id,),) = self._execute(
            "INSERT INTO tokens"
            " (token_hash, prefix, client_id, label, scopes, created_at, expires_at) VALUES"
            " (:token_hash, :prefix, :client_id, :label, :scopes, :created_at, :expires_at)"
            " RETURNING token_id",
            values_of(new) | {"created_at": self._now},
        )
        return int(token_id)

    def revoke(self, token_id: int) -> bool:
        """Revoke a token and tell whether there was one to revoke.

        A token that was revoked before keeps the time of its first revocation.
        """
        rows = self._execute(
            "UPDATE tokens SET revoked_at = COALESCE(revoked_at, :now)"
            " WHERE token_id = :token_id RETURNING token_id",
            {"token_id": token_id, "now": self._now},
        )
        return bool(list(rows))

    def note_uses(self, used_at: Mapping[int, str]) -> None:
        """Record when tokens were last used, by their ids; a later time is never replaced."""
        for token_id, at in used_at.items():
            self._execute(
                "UPDATE tokens SET last_used_at = :at WHERE token_id = :token_id"
                " AND COALESCE(last_used_at, '') < :at",
                {"token_id": token_id, "at": at},
            )
