"""The parameters and the response headers in the OpenAPI document, with their descriptions."""

from orderapi.auth import READ, WRITE
from orderapi.web.openapi import examples
from orderapi.web.openapi.files import FILES
from orderapi.web.problems import PROBLEMS, RETRY_AFTER_S
from orderapi.web.schemas.fields import KEY_HEADER_PATTERN
from orderapi.web.schemas.orders import ORDER_ID_PATTERN
from orderapi.web.this_request import REQUEST_ID_MAX_CHARS

Described = dict[str, object]


def _parameter(place: str, description: str, schema: Described, **others: object) -> Described:
    return {"in": place, "description": description, "schema": schema, **others}


# By name. Each value is a Parameter Object without its name (OpenAPI 3.1 section 4.8.12).
PARAMETERS: dict[str, Described] = {
    "Idempotency-Key": _parameter(
        "header",
        "The name of this order among the orders of one client, for example a UUID. Make a new key "
        "for each order, save it, and send it with every attempt. The bare form and the quoted "
        "form (a structured-field string) name the same key. A key has 1 to 255 characters of "
        "printable ASCII. Only the quoted form may contain a space, a comma or a quote.",
        {"type": "string", "pattern": KEY_HEADER_PATTERN},
        required=True,
        examples={
            "bare": {"summary": "The bare form", "value": examples.BARE_KEY},
            "quoted": {"summary": "The quoted form", "value": examples.QUOTED_KEY},
        },
    ),
    "X-Debug-Fail-After-Commit": _parameter(
        "header",
        "The value `true` makes the request commit a new order and then answer 500 "
        "`simulated-failure`. A retry without this header answers 201 with that order.",
        {"type": "string"},
    ),
    "X-Request-ID": _parameter(
        "header",
        "The id of this request in the log and in the answer. A value of other characters than "
        f"`A-Za-z0-9._~:+/=-`, or of more than {REQUEST_ID_MAX_CHARS}, is replaced with a new "
        "UUID.",
        {"type": "string"},
    ),
    "traceparent": _parameter(
        "header",
        "The trace to which this request belongs (W3C Trace Context). The event of an order passes "
        "it on. A value that is not valid is ignored.",
        {"type": "string"},
    ),
    "If-None-Match": _parameter(
        "header",
        "The `ETag` of the copy that the client has. If it is still right, the answer is 304.",
        {"type": "string"},
    ),
    "order_id": _parameter(
        "path",
        "The id of an order, as the answer that made it shows it.",
        {"type": "string", "pattern": ORDER_ID_PATTERN},
        example=examples.ORDER_ID,
    ),
    "slug": _parameter(
        "path",
        "The name of a problem, which is the end of the `type` of a problem document.",
        {"type": "string", "enum": [problem.slug for problem in PROBLEMS]},
    ),
    "name": _parameter(
        "path", "The name of a file of the page.", {"type": "string", "enum": sorted(FILES)}
    ),
}
IN_EVERY_REQUEST = ("X-Request-ID", "traceparent")

# By name. Each value is a Header Object (OpenAPI 3.1 section 4.8.21).
RESPONSE_HEADERS: dict[str, Described] = {
    "X-Request-ID": {
        "description": "The id of this request, which every log line of it contains.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": REQUEST_ID_MAX_CHARS},
        "example": examples.REQUEST_ID,
    },
    "Location": {
        "description": "The path of the order.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
        "example": f"/orders/{examples.ORDER_ID}",
    },
    "Idempotent-Replayed": {
        "description": "This is the answer that the first request with this key got. The header is "
        "absent if this request made the order.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {
        "description": 'The address of the next page, with `rel="next"` (RFC 8288). The header '
        "is absent if this is the last page.",
        "schema": {"type": "string"},
        "example": f'</orders?cursor={examples.CURSOR}>; rel="next"',
    },
    "Retry-After": {
        "description": "How many seconds to wait before the next attempt.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
        "example": RETRY_AFTER_S,
    },
    "Allow": {
        "description": "The methods that this path supports, separated by commas.",
        "required": True,
        "schema": {"type": "string"},
        "example": "GET, HEAD, OPTIONS",
    },
    "WWW-Authenticate": {
        "description": "What is wrong with the token, or which scope it needs (RFC 6750 section "
        "3). Without an `error`, the request had no token.",
        "required": True,
        "schema": {"type": "string"},
        "example": 'Bearer realm="orderapi", error="invalid_token"',
    },
    "Vary": {
        "description": "The answer depends on this header of the request.",
        "required": True,
        "schema": {"type": "string", "enum": ["Accept"]},
    },
    "ETag": {
        "description": "The version of the answer, for `If-None-Match`.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "A copy may be used if the server confirms it with 304.",
        "required": True,
        "schema": {"type": "string"},
    },
}
IN_EVERY_ANSWER = ("X-Request-ID",)
OF_PROBLEM: dict[str, tuple[str, ...]] = {
    "unauthorized": ("WWW-Authenticate",),
    "insufficient-scope": ("WWW-Authenticate",),
    "method-not-allowed": ("Allow",),
    "rate-limited": ("Retry-After",),
    "bad-gateway": ("Retry-After",),
    "store-unavailable": ("Retry-After",),
    "gateway-timeout": ("Retry-After",),
}

TOKEN_NAME = "token"  # noqa: S105 - the name of the scheme in the document
TOKEN_SCHEME: Described = {
    "type": "http",
    "scheme": "bearer",
    "description": f"A token of a client. Its scope `{READ}` allows GET of orders and events, and "
    f"its scope `{WRITE}` allows POST. Keys, orders and events belong to the client, not to the "
    "token.",
}
