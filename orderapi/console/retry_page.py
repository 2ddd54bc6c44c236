"""The page `/retry`: which answer a client would get to a request. The request is not sent."""

from flask import Blueprint, render_template, request

from orderapi.console.retry import Conflict, New, Refused, Replay, Verdict, decide, stored_body
from orderapi.records import PUBLIC_CLIENT
from orderapi.store.contract import ReadTx, Store

# The field for the client proposes at most this many names.
PROPOSED_CLIENTS_MAX = 100
_NAMES = {Replay: "replay", Conflict: "conflict", New: "new", Refused: "refused"}


def blueprint(store: Store) -> Blueprint:
    """Return the page that answers what a retry would get from a store."""
    retry = Blueprint("retry", __name__)

    @retry.get("/retry")
    def show_verdict() -> str:
        client_id = request.args.get("client", PUBLIC_CLIENT)
        key = request.args.get("key", "")
        # A browser sends the line breaks of a text as CR and LF. JSON reads both as white space.
        body = request.args.get("body")
        is_stored_wanted = request.args.get("use") == "stored"
        if is_stored_wanted:
            body = stored_body(store, client_id, key)
        verdict = None if body is None else _verdict(store, client_id, key, body)
        return render_template(
            "retry.html",
            clients=store.read(_proposed_clients),
            client_id=client_id,
            key=key,
            body=body or "",
            has_no_stored_body=is_stored_wanted and body is None,
            verdict=verdict,
            name=None if verdict is None else _NAMES[type(verdict)],
        )

    return retry


def _proposed_clients(tx: ReadTx) -> list[str]:
    with_tokens = tx.lookup.list_clients_with_tokens()
    clients = {PUBLIC_CLIENT, *with_tokens, *tx.lookup.list_clients_with_orders()}
    return sorted(clients)[:PROPOSED_CLIENTS_MAX]


def _verdict(store: Store, client_id: str, key: str, body: str) -> Verdict:
    # An empty field means that the request has no such header.
    return decide(store, client_id, key or None, body.encode(errors="surrogatepass"))
