"""Tokens as an operator makes them, beside a service that runs."""

import json
import time
from pathlib import Path

from orderapi.ops import tokens
from orderapi.store.open import open_store
from tests.support.engines import Engine, engine_of
from tests.support.running import ORDER, Answer, Server


def create(
    database: Path | Engine, client_id: str, *scopes: str, expires: str | None = None
) -> tuple[int, str]:
    """Create a token and give its id and the token."""
    store = open_store(engine_of(database).url)
    try:
        made = tokens.create_token(store, client_id, label="", scopes=scopes, expires=expires)
    finally:
        store.close()
    # A new token works within a second.
    time.sleep(1.0)
    return made.token_id, made.token


def revoke(database: Path | Engine, token_id: int) -> None:
    """Revoke a token."""
    store = open_store(engine_of(database).url)
    try:
        tokens.revoke_token(store, token_id)
    finally:
        store.close()


def order(server: Server, key: str, token: str, quantity: int = 1) -> Answer:
    """Send `POST /orders` with a token."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key} | bearer(token)
    return server.request("POST", "/orders", json.dumps(ORDER | {"quantity": quantity}), headers)


def get(server: Server, path: str, token: str) -> Answer:
    """Send a GET with a token."""
    return server.request("GET", path, headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    """Give the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
