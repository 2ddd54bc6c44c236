"""The introduction of the OpenAPI document, and the groups of its operations."""

TITLE = "orderapi"
_PARAGRAPHS = (
    "An order service with exactly-once effects. A client may send a request again as often as it "
    "needs to: with the same `Idempotency-Key` there is one order, one ledger entry and one event, "
    "and each retry gets the first answer again.",
    "**Failures** are problem documents (RFC 9457). `retryable` says whether the same request may "
    "succeed later. `key_action` says what to do with the idempotency key then. A 5xx, or no "
    "answer at all, does not say that the order was not made: send the same request with the same "
    "key.",
    "**Checks** are made in this order: the path and the method, the token, its scope, the size of "
    "the body, its media type, the key, the JSON, its members, and whether the key belongs to "
    "another payload.",
    "**HEAD** is answered as GET, without the body. **OPTIONS** is answered with 204 and the "
    "header `Allow`. Both work on every path, and they are not listed again.",
    "**Proxies.** `bad-gateway` and `gateway-timeout` come from the proxy in front of the service. "
    "`rate-limited` may come from the proxy too.",
)
DESCRIPTION = "\n\n".join(_PARAGRAPHS)
TAGS = {
    "Orders": "Orders are made exactly once, and they never change.",
    "Events": "Each order has one event. Clients read the feed, or a webhook gets the deliveries.",
    "Operation": "What operators and their monitoring ask.",
    "Documentation": "This document, the page that shows it, and an explanation of each problem.",
}
