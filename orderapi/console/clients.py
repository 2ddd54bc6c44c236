"""The page of a client: its tokens, and when each of them was last used."""

from datetime import UTC, datetime

from flask import Blueprint, abort, render_template

from orderapi.console.finding import is_known_client
from orderapi.ops.tokens import state_of
from orderapi.records import Token
from orderapi.store.contract import ReadTx, Store
from orderapi.store.statements.tokens import CLIENT_TOKENS_MAX


def blueprint(store: Store) -> Blueprint:
    """Return the pages of the clients of a store."""
    clients = Blueprint("clients", __name__)

    @clients.get("/clients/<client_id>")
    def show_client(client_id: str) -> str:
        tokens = store.read(lambda tx: _tokens_of(tx, client_id))
        if tokens is None:
            abort(404)
        now = datetime.now(UTC)
        return render_template(
            "client.html",
            client_id=client_id,
            tokens=[(token, state_of(token, now)) for token in tokens],
            tokens_max=CLIENT_TOKENS_MAX,
        )

    return clients


def _tokens_of(tx: ReadTx, client_id: str) -> list[Token] | None:
    """List the tokens of a client. None if there is no such client."""
    return tx.tokens.list_tokens_of(client_id) if is_known_client(tx, client_id) else None
