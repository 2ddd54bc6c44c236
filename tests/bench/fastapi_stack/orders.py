"""What both FastAPI contenders share: the same validation, statements and answers as orderapi."""

import hashlib
import json
import logging
import os
import re
import secrets
import sqlite3
import sys
import time
import unicodedata
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

DATABASE = os.environ["BENCH_DATABASE"]

_CLIENT = "public"
_BARE_KEY = re.compile(r"[!#-+\--~]{1,255}")
_QUOTED_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._~:+/=-]{1,128}")
_FIND_CLAIM = (
    "SELECT request_hash, status_code, response_body, order_id FROM idempotency_keys"
    " WHERE client_id = ? AND idempotency_key = ?"
)

_log = logging.getLogger("orders")

Lending = Callable[[], AbstractContextManager[sqlite3.Connection]]


def _is_text(value: str) -> str:
    if value.isspace():
        raise ValueError("must not be blank")
    if not value.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        raise ValueError("must not contain control characters")
    return value


Text = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_is_text)]


class NewOrder(BaseModel):
    """The body of `POST /orders`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    customer_id: Text
    item_id: Text
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


def make_app(reading: Lending, writing: Lending) -> Any:
    """Make the application. `reading` and `writing` lend a connection for one transaction."""
    _log_json()
    app = FastAPI(openapi_url=None)

    def create_order(
        order: NewOrder, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Any:
        key = _parse_key(idempotency_key)
        if key is None:
            return JSONResponse({"title": "Idempotency-Key missing or invalid"}, 400)
        request_hash = _fingerprint(order)
        with reading() as db:
            saved = db.execute(_FIND_CLAIM, (_CLIENT, key)).fetchone()
        is_new = False
        if saved is None:
            with writing() as db:
                saved, is_new = _place_order(db, key, request_hash, order)
        if saved[0] != request_hash:
            return JSONResponse({"title": "Idempotency-Key reused"}, 409)
        headers = {"Location": f"/orders/{saved[3]}"}
        if not is_new:
            headers["Idempotent-Replayed"] = "true"
        return Response(saved[2], saved[1], headers, "application/json")

    def show_order(order_id: str) -> Any:
        with reading() as db:
            row = db.execute(
                "SELECT order_id, customer_id, item_id, quantity, status FROM orders"
                " WHERE order_id = ? AND client_id = ?",
                (order_id, _CLIENT),
            ).fetchone()
        if row is None:
            return JSONResponse({"title": "Not found"}, 404)
        names = ("order_id", "customer_id", "item_id", "quantity", "status")
        return Response(_dump(dict(zip(names, row, strict=True))), 200, None, "application/json")

    def healthz() -> Any:
        return JSONResponse({"status": "ok"})

    app.add_api_route("/orders", create_order, methods=["POST"])
    app.add_api_route("/orders/{order_id}", show_order, methods=["GET"])
    app.add_api_route("/healthz", healthz, methods=["GET"])
    return _Requests(app)


class _Requests:
    """Gives every request an id and a line in the log."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived_at = time.monotonic()
        sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = sent if _ACCEPTED_ID.fullmatch(sent) else str(uuid.uuid4())
        status = 0

        async def send_on(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        await self._app(scope, receive, send_on)
        line = {
            "time": _now(),
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round((time.monotonic() - arrived_at) * 1000, 2),
        }
        _log.info(json.dumps(line))


def _log_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _log.addHandler(handler)
    _log.setLevel("INFO")
    _log.propagate = False


def _place_order(
    db: sqlite3.Connection, key: str, request_hash: str, order: NewOrder
) -> tuple[Any, bool]:
    first = db.execute(_FIND_CLAIM, (_CLIENT, key)).fetchone()
    if first is not None:
        return first, False
    order_id, now = _uuid7(), _now()
    members = (order.customer_id, order.item_id, order.quantity)
    document = {"order_id": order_id, **order.model_dump(), "status": "created"}
    body = _dump(document)
    db.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, 'created', ?)",
        (order_id, _CLIENT, *members, now),
    )
    db.execute(
        "INSERT INTO ledger (order_id, customer_id, item_id, quantity, entry_type, created_at)"
        " VALUES (?, ?, ?, ?, 'order_created', ?)",
        (order_id, *members, now),
    )
    db.execute(
        "INSERT INTO events"
        " SELECT COALESCE(MAX(sequence), 0) + 1, ?, 'order.created', ?, ?, ?, ? FROM events",
        (str(uuid.uuid4()), order_id, _CLIENT, body, now),
    )
    db.execute(
        "INSERT INTO idempotency_keys (client_id, idempotency_key, request_hash, status_code,"
        " response_body, order_id, created_at) VALUES (?, ?, ?, 201, ?, ?, ?)",
        (_CLIENT, key, request_hash, body, order_id, now),
    )
    return (request_hash, 201, body, order_id), True


def _parse_key(header: str | None) -> str | None:
    key = (header or "").strip()
    if _BARE_KEY.fullmatch(key):
        return key
    quoted = _QUOTED_KEY.fullmatch(key)
    unquoted = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    return unquoted if 1 <= len(unquoted) <= 255 else None


def _fingerprint(order: NewOrder) -> str:
    canonical = json.dumps(
        order.model_dump(), ensure_ascii=False, separators=(",", ":"), sort_keys=True
    )
    return hashlib.sha256(f"POST\n/orders\n{canonical}".encode()).hexdigest()


def _dump(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _uuid7() -> str:
    """Return an id that grows with time (RFC 9562 section 5.7), because it makes inserts faster."""
    bits = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return str(uuid.UUID(int=bits & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0b10 << 62))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
