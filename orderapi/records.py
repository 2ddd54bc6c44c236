"""The plain values that the layers exchange. They know neither HTTP nor SQL."""

from dataclasses import dataclass, field

# While ORDERAPI_AUTH is off, every caller is this client. It has no entry in the indexes by client,
# and the migrations that make these indexes contain its name too.
PUBLIC_CLIENT = "public"


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A validated order that has not been stored yet."""

    client_id: str
    customer_id: str
    item_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Order:
    """A stored order. `created_at` is RFC 3339 UTC with milliseconds and `Z`."""

    order_id: str
    client_id: str
    customer_id: str
    item_id: str
    quantity: int
    status: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The identity of a request: an idempotency key of one client, for one payload.

    `fingerprint` is the lower-case hexadecimal SHA-256 of the request's meaning
    (`idempotency.fingerprint`).
    """

    client_id: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a claim, and whether it was given before."""

    status: int
    body: str
    order_id: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class SavedClaim:
    """What decides about a retry: the fingerprint and the answer that were saved under a key."""

    fingerprint: str
    status: int
    body: str
    order_id: str


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """All that is stored under a key. `created_at` is RFC 3339 UTC with milliseconds and `Z`."""

    client_id: str
    key: str
    fingerprint: str
    status: int
    body: str
    order_id: str
    created_at: str


@dataclass(frozen=True, slots=True)
class OrderRange:
    """Which orders an operator lists, newest first: of all clients and customers, or of one.

    `limit` counts orders. `start` is the smallest order_id of the range, and `before` is the
    order_id that follows its greatest one; None means no limit on this side. `client_id` and
    `customer_id` are not given together, because no index has both, and `client_id` is not the
    client of requests without a token, because no index has that client.
    """

    limit: int
    client_id: str | None = None
    customer_id: str | None = None
    start: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the ledger says of an order. `created_at` is RFC 3339 UTC with milliseconds and `Z`."""

    ledger_id: int
    order_id: str
    customer_id: str
    item_id: str
    quantity: int
    entry_type: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Event:
    """What was committed, in its place in the order of all commits.

    `payload` is JSON text: the order as its client sees it. `created_at` is RFC 3339 UTC with
    milliseconds and `Z`. `traceparent` names the trace of the request (W3C Trace Context, version
    00), or is None if the request belonged to none.
    """

    sequence: int
    event_id: str
    type: str
    order_id: str
    client_id: str
    payload: str
    created_at: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class LastEvent:
    """The newest event. `created_at` is RFC 3339 UTC with milliseconds and `Z`."""

    sequence: int
    created_at: str


@dataclass(frozen=True, slots=True)
class RelayState:
    """How far the relay is behind, since when, and why.

    `position` is the number of the last event that it has delivered, or skipped by request.
    `next_since` is the time at which the next event was committed, or None if there is none.
    `failures` counts the consecutive failed attempts to deliver that event. The first attempt
    failed at `blocked_since`, and the last one failed because of `blocked_reason`. Times are RFC
    3339 UTC with milliseconds and `Z`.
    """

    position: int
    last_sequence: int
    next_since: str | None
    failures: int
    blocked_since: str | None
    blocked_reason: str | None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do what only one store may do at a time, for example to deliver events.

    `holder` names the store that has it. `fence` is greater than the fence of every holder before.
    """

    name: str
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Who has a lease, as it is stored.

    `holder` is None if the last holder has given it up, or if there was none yet. `expires_ms` is
    a time in milliseconds by the engine's clock for leases. `is_expired` tells whether this time
    has passed.
    """

    holder: str | None
    fence: int
    expires_ms: int
    is_expired: bool


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Which orders of one client the API lists, newest first.

    The client is never left out, as it may be in an OrderRange, because no client may read the
    orders of another one. `before` is the order_id that the page starts after (exclusive); `limit`
    counts orders.
    """

    client_id: str
    customer_id: str | None
    key: str | None
    before: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """Which events of one client to list, oldest first: `limit` events after a number."""

    client_id: str
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that is about to be stored: its hash and what it allows, never the token itself.

    `token_hash` is the SHA-256 of the token, in hexadecimal. `prefix` is shown to people, so that
    they can tell tokens apart. `scopes` are the names of the scopes with a space between them.
    `expires_at` is RFC 3339 UTC with milliseconds and `Z`, or None.
    """

    token_hash: str
    prefix: str
    client_id: str
    label: str
    scopes: str
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is stored; see `NewToken`. Times are RFC 3339 UTC with milliseconds and `Z`."""

    token_id: int
    token_hash: str = field(repr=False)
    prefix: str
    client_id: str
    label: str
    scopes: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
