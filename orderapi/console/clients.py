"""The page of a client: its tokens, and when each of them was last used."""

from datetime import UTC, datetime

from flask import Blueprint, abort, render_template

from orderapi.console.finding import known_clients
from orderapi.ops.tokens import state_of
from orderapi.store.contract import ReadTx, Store


def blueprint(store: Store) -> Blueprint:
    """Return the pages of the clients of a store."""
    clients = Blueprint("clients", __name__)

    @clients.get("/clients/<client_id>")
    def show_client(client_id: str) -> str:
        tokens = store.read(lambda tx: _tokens_of(tx, client_id))
        if tokens is None:
            abort(404)
        return render_template("client.html", client_id=client_id, tokens=tokens)

    return clients


def _tokens_of(tx: ReadTx, client_id: str) -> list[dict[str, object]] | None:
    if client_id not in known_clients(tx):
        return None
    now = datetime.now(UTC)
    return [
        {"token": token, "state": state_of(token, now)}
        for token in tx.tokens.list_tokens()
        if token.client_id == client_id
    ]
