"""The resource `/orders`: create an order exactly once, show an order, list orders."""

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Blueprint, Request, request
from werkzeug.http import parse_options_header

from orderapi import idempotency
from orderapi.documents import dump, order_members
from orderapi.errors import (
    BodyTooLarge,
    BodyUnreadable,
    NotJson,
    OrderNotFound,
    SimulatedFailure,
)
from orderapi.records import Claim, NewOrder, OrderPage, Reply
from orderapi.store.contract import Store
from orderapi.telemetry import Telemetry
from orderapi.web import auth, cursor, this_request
from orderapi.web.query import query_pairs
from orderapi.web.schemas.orders import load_order, load_order_query
from orderapi.web.whole_response import WholeResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

BODY_MAX_BYTES = 16 * 1024


def blueprint(store: Store, telemetry: Telemetry, *, fault_injection: bool) -> Blueprint:
    """Return the resource `/orders` of a store."""
    orders = Blueprint("orders", __name__)

    @orders.post("/orders")
    def create_order() -> WholeResponse:
        environ = this_request.current().environ
        body = _read_body(environ)
        _refuse_other_than_json(environ)
        key = idempotency.parse_key(environ.get("HTTP_IDEMPOTENCY_KEY"))
        this_request.note(key_hash=idempotency.key_digest(key))
        payload = load_order(body)
        client_id = auth.caller().client_id
        claim = Claim(client_id, key, idempotency.fingerprint("POST", "/orders", payload))
        reply = store.place(
            claim,
            NewOrder(client_id, **payload),
            this_request.current().traceparent,
            this_request.deadline(),
        )
        telemetry.count_reply(is_replayed=reply.replayed)
        this_request.note(order_id=reply.order_id, replayed=reply.replayed)
        if fault_injection and not reply.replayed and _asks_for_failure(environ):
            raise SimulatedFailure("The order was committed. The request asked for this failure.")
        return _created(reply)

    @orders.get("/orders/<order_id>")
    def show_order(order_id: str) -> WholeResponse:
        client_id = auth.caller().client_id
        order = store.read_one(
            lambda tx: tx.orders.find_order(client_id, order_id), this_request.deadline()
        )
        if order is None:
            raise OrderNotFound("There is no order with this id.")
        this_request.note(order_id=order.order_id)
        return WholeResponse(dump(order_members(order)))

    @orders.get("/orders")
    def list_orders() -> WholeResponse:
        query = load_order_query(query_pairs(request))
        client_id = auth.caller().client_id
        filters = (client_id, query.customer_id, query.key)
        before = cursor.decode(query.cursor, filters) if query.cursor is not None else None
        # One order more than the limit is read, to know whether there is a next page.
        page = OrderPage(client_id, query.customer_id, query.key, before, query.limit + 1)
        found = store.read_one(lambda tx: tx.orders.list_orders(page), this_request.deadline())
        shown = found[: query.limit]
        has_more = len(found) > query.limit
        next_cursor = cursor.encode(shown[-1].order_id, filters) if has_more else None
        response = WholeResponse(
            dump({"orders": [order_members(o) for o in shown], "next_cursor": next_cursor})
        )
        if next_cursor is not None:
            response.add_header("Link", _link_to_next(request, next_cursor))
        return response

    return orders


def _read_body(environ: "WSGIEnvironment") -> bytes:
    """Read the whole body.

    A body that was cut short may still be valid JSON, but the service must not execute it.

    Raises BodyTooLarge if the body is longer than BODY_MAX_BYTES, and BodyUnreadable if it is cut
    short or malformed.
    """
    announced = _announced_bytes(environ)
    if announced is not None and announced > BODY_MAX_BYTES:
        raise BodyTooLarge(f"The body is longer than {BODY_MAX_BYTES} bytes.")
    try:
        body: bytes = environ["wsgi.input"].read(BODY_MAX_BYTES + 1)
    except Exception as error:  # each WSGI server raises other errors for a broken body
        raise BodyUnreadable("The body could not be read.") from error
    if len(body) > BODY_MAX_BYTES:
        raise BodyTooLarge(f"The body is longer than {BODY_MAX_BYTES} bytes.")
    if announced is not None and len(body) != announced:
        raise BodyUnreadable("The body is shorter than its Content-Length.")
    return body


def _announced_bytes(environ: "WSGIEnvironment") -> int | None:
    if "HTTP_TRANSFER_ENCODING" in environ or not environ.get("CONTENT_LENGTH"):
        return None
    try:
        return int(environ["CONTENT_LENGTH"])
    except ValueError as error:
        raise BodyUnreadable("The Content-Length of the body is not a number.") from error


def _refuse_other_than_json(environ: "WSGIEnvironment") -> None:
    if not _is_json(environ.get("CONTENT_TYPE", "")):
        raise NotJson("The body must have 'Content-Type: application/json' and be in UTF-8.")
    coding = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if "HTTP_CONTENT_ENCODING" in environ or coding.strip().lower() != "chunked":
        raise NotJson(
            "The body must have no Content-Encoding, and no Transfer-Encoding but 'chunked'."
        )


@lru_cache(maxsize=64)  # nearly all clients send the same value
def _is_json(content_type: str) -> bool:
    media_type, parameters = parse_options_header(content_type)
    charset = parameters.get("charset", "utf-8").lower()
    return media_type.lower() == "application/json" and charset in ("utf-8", "utf8")


def _asks_for_failure(environ: "WSGIEnvironment") -> bool:
    return bool(environ.get("HTTP_X_DEBUG_FAIL_AFTER_COMMIT") == "true")


def _created(reply: Reply) -> WholeResponse:
    response = WholeResponse(reply.body, reply.status)
    response.add_header("Location", f"/orders/{reply.order_id}")
    if reply.replayed:
        response.add_header("Idempotent-Replayed", "true")
    return response


def _link_to_next(incoming: Request, next_cursor: str) -> str:
    parameters = [pair for pair in query_pairs(incoming) if pair[0] != "cursor"]
    return f'</orders?{urlencode([*parameters, ("cursor", next_cursor)])}>; rel="next"'
