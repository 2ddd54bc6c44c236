"""Examples of requests and answers. A test checks each of them against its schema."""

import json

from orderapi.orders import EVENT_TYPE, ORDER_STATUS
from orderapi.records import PUBLIC_CLIENT
from orderapi.web import cursor, problems
from orderapi.web.problem_pages import explain

ORDER_ID = "01936e5f-2a7c-7b41-9c5d-3f8a1e6b2d40"
REQUEST_ID = "0b0c9a6e-5d0b-4a52-9d0e-0a3f1c2b4d5e"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
# Both of these name the same key.
BARE_KEY = "order-2026-0001"
QUOTED_KEY = f'"{BARE_KEY}"'

NEW_ORDER = {"customer_id": "cust1", "item_id": "item1", "quantity": 1}
ORDER = {"order_id": ORDER_ID, **NEW_ORDER, "status": ORDER_STATUS}
CURSOR = cursor.encode(ORDER_ID, (PUBLIC_CLIENT, None, None))
ORDER_PAGE = {"orders": [ORDER], "next_cursor": CURSOR}

EVENT = {
    "specversion": "1.0",
    "id": "01936e5f-2a7c-7b42-8a06-5d0c4f7e9b13",
    "source": "/orders",
    "type": EVENT_TYPE,
    "subject": ORDER_ID,
    "time": "2026-11-29T09:30:00.123Z",
    "datacontenttype": "application/json",
    "sequence": "0000000000000000042",
    "traceparent": TRACEPARENT,
    "data": ORDER,
}
EVENT_PAGE = {"events": [EVENT], "next": 42}

METRICS = (
    "# HELP orderapi_ready 1 if writes commit; 0 if not.\n"
    "# TYPE orderapi_ready gauge\n"
    "orderapi_ready 1.0\n"
)
PROBLEM_TYPE = explain(problems.BY_SLUG["idempotency-key-reused"])


def problem(slug: str) -> object:
    """Return the problem document of a failed request."""
    members = {"errors": {"quantity": ["Missing data for required field."]}}
    return json.loads(
        problems.document(
            slug,
            problems.BY_SLUG[slug].meaning,
            REQUEST_ID,
            **(members if slug == "validation-failed" else {}),
        )
    )
