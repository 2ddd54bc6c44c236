"""Describes how `orderapi relay` delivers an event to a webhook, for the OpenAPI document."""

from orderapi.orders import EVENT_TYPE
from orderapi.web.openapi import examples

NAME = EVENT_TYPE

_UNIX_TIME = 1_795_944_600

DELIVERY: dict[str, object] = {
    "operationId": "receive_event",
    "tags": ["Events"],
    "summary": "Receive an event",
    "description": (
        "The relay delivers each event at least once, in the order of the commits. It waits for "
        "the acknowledgement of one event before it sends the next one. Check the signature over "
        "`<webhook-id>.<webhook-timestamp>.<body>` (Standard Webhooks 1.0, HMAC-SHA-256), and "
        "ignore a `webhook-id` that was stored before."
    ),
    "security": [],
    "parameters": [
        {
            "in": "header",
            "name": "webhook-id",
            "required": True,
            "description": "The `id` of the event. It is the same in every attempt.",
            "schema": {"type": "string", "format": "uuid"},
            "example": examples.EVENT["id"],
        },
        {
            "in": "header",
            "name": "webhook-timestamp",
            "required": True,
            "description": "When this attempt was signed, in seconds since 1970. Refuse a time "
            "that is more than five minutes away.",
            "schema": {"type": "integer", "format": "int64", "minimum": 0},
            "example": _UNIX_TIME,
        },
        {
            "in": "header",
            "name": "webhook-signature",
            "required": True,
            "description": "One or more signatures, separated by spaces. One must be right.",
            "schema": {
                "type": "string",
                "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$",
            },
            "example": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        {
            "in": "header",
            "name": "traceparent",
            "description": "The trace of the request that made the order, if it named one.",
            "schema": {"type": "string"},
            "example": examples.TRACEPARENT,
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/cloudevents+json": {
                "schema": {"$ref": "#/components/schemas/Event"},
                "example": examples.EVENT,
            }
        },
    },
    "responses": {
        "2XX": {"description": "The receiver has stored the event. The next one may come."},
        "410": {"description": "The receiver wants no more events. The relay stops."},
        "default": {
            "description": "The delivery has failed, and it is repeated after a pause that grows. "
            "Redirects are not followed.",
            "headers": {
                "Retry-After": {
                    "description": "The relay waits at least for this time: a number of seconds, "
                    "or a date.",
                    "schema": {"type": "string"},
                }
            },
        },
    },
}
