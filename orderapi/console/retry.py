"""Finds out which answer a client would get if it sent a request now. Nothing is written.

The answer comes from the functions that the service itself uses, in the order in which it uses
them: the grammar of the key, the schema of an order, the fingerprint, and the comparison with the
saved claim.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orderapi import idempotency
from orderapi.console.links import payload_of
from orderapi.errors import BodyTooLarge, KeyReused, OrderApiError, ValidationFailed
from orderapi.orders import find_reply
from orderapi.records import Claim, Order, Reply
from orderapi.store.contract import ReadTx, Store
from orderapi.web.orders import BODY_MAX_BYTES
from orderapi.web.problems import Problem, problem_of
from orderapi.web.schemas.orders import load_order


@dataclass(frozen=True, slots=True)
class Difference:
    """A member of an order: its value in the first request, and its value in this request."""

    name: str
    first: object
    now: object

    @property
    def is_different(self) -> bool:
        """Whether the two values differ."""
        return type(self.first) is not type(self.now) or self.first != self.now


@dataclass(frozen=True, slots=True)
class Replay:
    """The first answer would be given again."""

    key: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key belongs to another payload, which made `order`."""

    key: str
    order: Order | None
    fingerprint: str
    first_fingerprint: str
    differences: list[Difference]
    problem: Problem
    detail: str


@dataclass(frozen=True, slots=True)
class New:
    """An order would be made."""

    key: str
    payload: Mapping[str, object]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The request would be refused. This does not depend on the stored orders."""

    problem: Problem
    detail: str
    errors: Mapping[str, object] = field(default_factory=dict)


Verdict = Replay | Conflict | New | Refused


def decide(store: Store, client_id: str, key_header: str | None, body: bytes) -> Verdict:
    """Return what `POST /orders` would answer to a client with this header and this body.

    Authentication is not checked. The client is treated as if it had a token that may write.

    Raises StoreUnavailable if the store cannot be read.
    """
    try:
        if len(body) > BODY_MAX_BYTES:
            raise BodyTooLarge(f"The body is longer than {BODY_MAX_BYTES} bytes.")
        key = idempotency.parse_key(key_header)
        payload = load_order(body)
    except ValidationFailed as error:
        return Refused(problem_of(error), str(error), error.errors)
    except OrderApiError as error:
        return Refused(problem_of(error), str(error))
    claim = Claim(client_id, key, idempotency.fingerprint("POST", "/orders", payload))
    return store.read(lambda tx: _compare(tx, claim, payload))


def stored_body(store: Store, client_id: str, key_header: str) -> str | None:
    """Return a body for the request that made the order under a key. None if there is no order.

    The service does not keep the bytes of a request. The body has the same meaning as the first
    one.

    Raises StoreUnavailable if the store cannot be read.
    """
    try:
        key = idempotency.parse_key(key_header)
    except OrderApiError:
        return None
    order = store.read(lambda tx: _order_of_key(tx, client_id, key))
    return None if order is None else payload_of(order)


def _order_of_key(tx: ReadTx, client_id: str, key: str) -> Order | None:
    saved = tx.keys.find_claim(client_id, key)
    return None if saved is None else tx.lookup.find_order(saved.order_id)


def _compare(tx: ReadTx, claim: Claim, payload: Mapping[str, object]) -> Verdict:
    try:
        reply = find_reply(tx, claim)
    except KeyReused as error:
        return _conflict(tx, claim, payload, error)
    if reply is None:
        return New(claim.key, payload, claim.fingerprint)
    return Replay(claim.key, reply)


def _conflict(
    tx: ReadTx, claim: Claim, payload: Mapping[str, object], error: KeyReused
) -> Conflict:
    saved = tx.keys.find_claim(claim.client_id, claim.key)
    assert saved is not None, "find_reply has found it in this snapshot"
    order = tx.lookup.find_order(saved.order_id)
    differences = (
        []
        if order is None
        else [Difference(name, getattr(order, name), sent) for name, sent in payload.items()]
    )
    return Conflict(
        claim.key,
        order,
        claim.fingerprint,
        saved.fingerprint,
        differences,
        problem_of(error),
        str(error),
    )
