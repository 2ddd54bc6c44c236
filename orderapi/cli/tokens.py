"""`orderapi token` creates, lists and revokes the tokens of clients."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from orderapi.auth import SCOPES
from orderapi.cli import inputs, streams
from orderapi.errors import StoreUnavailable, TokenRefused
from orderapi.ops import tokens
from orderapi.records import Token
from orderapi.store.contract import Store

_HEADINGS = ("ID", "CLIENT", "LABEL", "TOKEN", "SCOPES", "CREATED", "LAST USED", "STATE")


@click.group("token")
def token_group() -> None:
    """Create, list and revoke the tokens of clients.

    A service with ORDERAPI_AUTH=required answers only requests that carry a token. Orders, keys and
    events belong to the client and not to the token: a client may have several tokens, and a new
    one can replace an old one at any time.
    """


@token_group.command("create")
@click.argument("client")
@click.option("--label", default="", help="A note for people, such as where the token is used.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    help="What the token allows: read (GET) or write (POST). Use the option twice for both. Without"
    " this option, the token allows both.",
)
@click.option(
    "--expires",
    metavar="WHEN",
    help="When the token expires: after a duration (90d, 12h, 30m, 9s) or at a time"
    " (2027-01-31T12:00:00Z). Without this option, the token does not expire.",
)
@inputs.database_option()
def create_command(
    client: str, label: str, scopes: tuple[str, ...], expires: str | None, database: str | None
) -> None:
    """Create a token for CLIENT and print it.

    The token is shown only now, because the database keeps only its hash. The service accepts it
    within a second. The client `public` owns the orders that were made without tokens.

    \b
    Examples:
      orderapi token create public
      orderapi token create shop --label checkout --scope write --expires 90d
    """
    with _opened_store(database, read_only=False) as store:
        created = tokens.create_token(store, client, label=label, scopes=scopes, expires=expires)
    end = "it does not expire" if created.expires_at is None else f"until {created.expires_at}"
    click.echo(
        f"token {created.token_id} of {client}, {end}; it is shown only this once:", err=True
    )
    click.echo(created.token)
    if streams.output_is_lost():
        raise inputs.CommandFailed(
            "the new token could not be shown, and the database has only its hash;"
            f" revoke it: orderapi token revoke {created.token_id}"
        )


@token_group.command("list")
@inputs.database_option()
def list_command(database: str | None) -> None:
    """List all tokens, also those that expired or were revoked.

    The column TOKEN shows the first characters after `oapi_`. LAST USED is accurate to a minute.
    """
    with _opened_store(database, read_only=True) as store:
        found = tokens.list_tokens(store)
    if not found:
        click.echo("there are no tokens; `orderapi token create CLIENT` creates one")
        return
    now = datetime.now(UTC)
    for line in _table([_HEADINGS, *(_cells(token, now) for token in found)]):
        click.echo(line)


@token_group.command("revoke")
@click.argument("token_id", metavar="ID", type=inputs.IntegerInRange(1, 2**63 - 1))
@inputs.database_option()
def revoke_command(token_id: int, database: str | None) -> None:
    """Revoke the token ID; `orderapi token list` shows the ids.

    Every process of the service refuses the token within a second.
    """
    with _opened_store(database, read_only=False) as store:
        tokens.revoke_token(store, token_id)
    click.echo(f"token {token_id} is revoked")


@contextmanager
def _opened_store(database: str | None, *, read_only: bool) -> Iterator[Store]:
    settings = inputs.check_settings(database)
    with inputs.opened_store(settings, read_only=read_only) as store:
        try:
            yield store
        except TokenRefused as error:
            raise inputs.WrongUse(str(error)) from error
        except StoreUnavailable as error:
            raise inputs.CommandFailed(f"the tokens are unchanged: {error.reason}") from error


def _cells(token: Token, now: datetime) -> tuple[str, ...]:
    state = tokens.state_of(token, now)
    if state == "revoked":
        state += f" {token.revoked_at}"
    elif token.expires_at is not None:
        state += f", expires {token.expires_at}" if state == "valid" else f" {token.expires_at}"
    return (
        str(token.token_id),
        token.client_id,
        token.label or "-",
        f"{token.prefix}...",
        token.scopes,
        token.created_at,
        token.last_used_at or "never",
        state,
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines. Each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
