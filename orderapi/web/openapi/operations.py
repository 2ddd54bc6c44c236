"""The descriptions, parameters, problems and examples of each view in the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from marshmallow import Schema

from orderapi.auth import READ, WRITE
from orderapi.web.openapi import examples
from orderapi.web.schemas.events import EventQuerySchema
from orderapi.web.schemas.orders import NewOrderSchema, OrderQuerySchema

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"


@dataclass(frozen=True, slots=True)
class Success:
    """A successful answer: its description, the headers that it may have, and examples of its body.

    `headers` are names of `headers.RESPONSE_HEADERS`. `examples` has one example of the body for
    each media type of the answer. `links` are names of `LINKS`.
    """

    description: str
    headers: tuple[str, ...] = ()
    examples: Mapping[str, object] = field(default_factory=dict)
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One view.

    `scope` is the scope that a token needs, or None if the view needs no token. `parameters` are
    names of `headers.PARAMETERS`. `problems` are the slugs of the problems that this view may
    answer with. They do not include those that every view may answer with. `answers` are the
    successful answers by status.
    """

    tag: str
    summary: str
    description: str = ""
    scope: str | None = None
    parameters: tuple[str, ...] = ()
    query: Schema | None = None
    body: Schema | None = None
    body_example: object = None
    problems: tuple[str, ...] = ()
    answers: Mapping[int, Success]


LINKS: dict[str, dict[str, object]] = {
    "show_order": {
        "operationId": "show_order",
        "parameters": {"order_id": "$response.body#/order_id"},
        "description": "The order that was made.",
    },
    "next_events": {
        "operationId": "list_events",
        "parameters": {"after": "$response.body#/next"},
        "description": "The events that follow this page.",
    },
}

_NOT_MODIFIED = Success("The copy of the client is still right.", ("ETag", "Cache-Control"))

OPERATIONS: Mapping[str, Operation] = {
    "orders.create_order": Operation(
        tag="Orders",
        summary="Create an order exactly once",
        description=(
            "For one client and one `Idempotency-Key` there is at most one order. A request with "
            "the same key and the same payload is a retry: it makes nothing, and it gets the first "
            "answer again, with `Idempotent-Replayed: true`. The same key with another payload is "
            "answered with 409.\n\n"
            "After a time-out, a 5xx or a lost answer, send the same request with the same key. "
            "Failures are not remembered under the key. The order is on stable storage before the "
            "201 is sent."
        ),
        scope=WRITE,
        parameters=("Idempotency-Key", "X-Debug-Fail-After-Commit"),
        body=NewOrderSchema(),
        body_example=examples.NEW_ORDER,
        problems=(
            "idempotency-key-missing",
            "idempotency-key-invalid",
            "malformed-json",
            "idempotency-key-reused",
            "body-too-large",
            "unsupported-media-type",
            "validation-failed",
            "simulated-failure",
            "store-unavailable",
        ),
        answers={
            201: Success(
                "The order, made by this request or by the first request with this key.",
                ("Location", "Idempotent-Replayed"),
                {JSON: examples.ORDER},
                ("show_order",),
            )
        },
    ),
    "orders.show_order": Operation(
        tag="Orders",
        summary="Show an order",
        description="The order of another client is answered with 404, as if it did not exist.",
        scope=READ,
        parameters=("order_id",),
        problems=("not-found", "store-unavailable"),
        answers={200: Success("The order.", (), {JSON: examples.ORDER})},
    ),
    "orders.list_orders": Operation(
        tag="Orders",
        summary="List orders, the newest one first",
        description=(
            "Filters combine with AND. Orders that are made in the meantime never shift a page. A "
            "parameter that is unknown or given twice is answered with 422."
        ),
        scope=READ,
        query=OrderQuerySchema(),
        problems=("validation-failed", "store-unavailable"),
        answers={
            200: Success("One page.", ("Link",), {JSON: examples.ORDER_PAGE}),
        },
    ),
    "events.list_events": Operation(
        tag="Events",
        summary="Read the feed of events, the oldest one first",
        description=(
            "Save `next` with what you have made of the events, and pass it as `after` in the next "
            "request. No event is missed then. Once an event has been seen, no event with a "
            "smaller number appears later. With `wait`, the request is a long poll. A "
            "parameter that is unknown or given twice is answered with 422."
        ),
        scope=READ,
        query=EventQuerySchema(),
        problems=("validation-failed", "store-unavailable"),
        answers={
            200: Success("One page.", (), {JSON: examples.EVENT_PAGE}, ("next_events",)),
        },
    ),
    "health.show_liveness": Operation(
        tag="Operation",
        summary="Show whether the process serves",
        answers={200: Success("The process serves.", (), {JSON: {"status": "ok"}})},
    ),
    "health.show_readiness": Operation(
        tag="Operation",
        summary="Show whether writes commit",
        description=(
            "A write that committed within the last 2 s is enough. Otherwise a test write is made."
        ),
        problems=("store-unavailable",),
        answers={200: Success("Writes commit.", (), {JSON: {"status": "ready"}})},
    ),
    "metrics.show_metrics": Operation(
        tag="Operation",
        summary="Show the metrics for Prometheus",
        description=(
            "The values are summed over all processes. A proxy in front should not pass this path "
            "on to others."
        ),
        problems=("store-unavailable",),
        answers={200: Success("The metrics.", (), {TEXT: examples.METRICS})},
    ),
    "problems.show_problem": Operation(
        tag="Documentation",
        summary="Explain a problem",
        description="The answer is JSON, or a page if the `Accept` header prefers HTML.",
        parameters=("slug",),
        problems=("not-found",),
        answers={
            200: Success("The explanation.", ("Vary",), {JSON: examples.PROBLEM_TYPE, HTML: None})
        },
    ),
    "openapi.show_document": Operation(
        tag="Documentation",
        summary="Show this document",
        parameters=("If-None-Match",),
        answers={
            200: Success("This document.", ("ETag", "Cache-Control"), {JSON: None}),
            304: _NOT_MODIFIED,
        },
    ),
    "openapi.show_page": Operation(
        tag="Documentation",
        summary="Show the page on which this document is read and tried",
        parameters=("If-None-Match",),
        answers={
            200: Success("The page.", ("ETag", "Cache-Control"), {HTML: None}),
            304: _NOT_MODIFIED,
        },
    ),
    "openapi.send_file": Operation(
        tag="Documentation",
        summary="Send a file of the page",
        parameters=("name", "If-None-Match"),
        problems=("not-found",),
        answers={
            200: Success(
                "The file.",
                ("ETag", "Cache-Control"),
                {"text/css": None, "text/javascript": None},
            ),
            304: _NOT_MODIFIED,
        },
    ),
}
