"""The six steps of `orderapi verify`: what each one sends, expects and reports."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from orderapi.ops.target import AnswerLate, NoAnswer, ServerAnswer, Target
from orderapi.orders import ORDER_STATUS, REPLY_STATUS

_SHOWN_MAX_CHARS = 120
# An order_id becomes part of a path.
_ORDER_ID = re.compile(r"[0-9A-Za-z-]{1,128}")
# The refusals that no other step can change, by their status.
_REFUSALS = {
    401: "the server requires a valid token (see --token-file)",
    403: "the token does not have the scope write; this check needs read and write",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One order of a verification: its key and its payload."""

    key: str
    payload: dict[str, str | int]

    @property
    def customer_id(self) -> str:
        """The customer, who has no other order."""
        return str(self.payload["customer_id"])


class StepSkipped(Exception):
    """The step cannot run. The message says why."""


@dataclass(slots=True)
class Verification:
    """The state of a verification: what the previous steps have found.

    `created` is the answer of step 1, if that step passed. `committed_id` is the id of the second
    order, when it is known to be committed. `stopped_because` says why the steps after step 1 are
    skipped. It is empty if they run.
    """

    server: Target
    first: Trial
    second: Trial
    created: ServerAnswer | None = None
    committed_id: str | None = None
    stopped_because: str = ""
    is_injection_off: bool = False

    def first_answer(self) -> ServerAnswer:
        """Return the answer of step 1. Raises StepSkipped if that step did not pass."""
        if self.created is None:
            raise StepSkipped("step 1 made no order")
        return self.created

    def order(self, trial: Trial, *, quantity: int = 1, fail: bool = False) -> ServerAnswer:
        """Send the order of a trial. Raises NoAnswer if no answer arrives."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": trial.key}
        if fail:
            headers["X-Debug-Fail-After-Commit"] = "true"
        body = json.dumps(trial.payload | {"quantity": quantity})
        return self.server.send("POST", "/orders", body, headers)

    def list_orders(self, **filters: str) -> Any:
        """Return the list of orders that match the filters, or None if there is no list."""
        answer = self.server.send("GET", f"/orders?{urlencode(filters)}")
        return answer.document.get("orders") if answer.status == 200 else None


@dataclass(slots=True)
class Observation:
    """What a step has observed. `wrong` lists what differs from the expectation."""

    text: str
    wrong: list[str] = field(default_factory=list)
    is_skipped: bool = False

    def expect(self, holds: bool, otherwise: str) -> None:
        """Add `otherwise` to `wrong` unless the expectation holds."""
        if not holds:
            self.wrong.append(otherwise)


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its name, what it expects, and a function that may raise NoAnswer or StepSkipped."""

    name: str
    expected: str
    run: Callable[[Verification], Observation]


def _create(state: Verification) -> Observation:
    try:
        answer = state.order(state.first)
    except NoAnswer:
        state.stopped_because = "step 1 got no answer"
        raise
    observed = Observation(_describe(state, answer))
    if answer.status in _REFUSALS:
        state.stopped_because = "step 1 was refused"
        observed.wrong.append(_REFUSALS[answer.status])
        return observed
    _expect_created(observed, state.first, answer)
    observed.expect("idempotent-replayed" not in answer.headers, "the answer is marked as a replay")
    if not observed.wrong:
        state.created = answer
    return observed


def _retry(state: Verification) -> Observation:
    first = state.first_answer()
    answer = state.order(state.first)
    observed = Observation(_describe(state, answer))
    observed.expect(answer.status == first.status, "the status differs")
    observed.expect(answer.body == first.body, "the body differs")
    observed.expect(_location(answer) == _location(first), "the Location differs")
    _expect_replay(observed, answer)
    _expect_one_order(observed, state, state.first, first.document)
    return observed


def _conflict(state: Verification) -> Observation:
    first = state.first_answer()
    answer = state.order(state.first, quantity=5)
    observed = Observation(_describe(state, answer))
    observed.expect(answer.status == 409, "the status is not 409")
    is_ours = answer.document.get("type") == "/problems/idempotency-key-reused"
    observed.expect(is_ours, "the answer is not the problem idempotency-key-reused")
    _expect_one_order(observed, state, state.first, first.document)
    return observed


def _fail_after_commit(state: Verification) -> Observation:
    try:
        answer = state.order(state.second, fail=True)
    except AnswerLate as error:
        observed = Observation(str(error))
    else:
        observed = Observation(_describe(state, answer))
        if answer.status == REPLY_STATUS:
            return _skip_without_injection(state, observed, answer)
        observed.expect(answer.status == 500, "the status is not 500")
        is_ours = answer.document.get("type") == "/problems/simulated-failure"
        observed.expect(is_ours, "the answer is not the problem simulated-failure")
    orders = state.list_orders(customer_id=state.second.customer_id)
    is_committed = _are_orders(orders) and len(orders) == 1
    observed.expect(
        is_committed, f"GET /orders returned {_count(orders)} instead of the committed one"
    )
    if is_committed:
        state.committed_id = orders[0].get("order_id")
        observed.text += f"; order {shorten(state, state.committed_id)} was committed"
    return observed


def _skip_without_injection(
    state: Verification, observed: Observation, answer: ServerAnswer
) -> Observation:
    """Skip the step, because the server does not simulate failures. The new order must be right."""
    state.is_injection_off = True
    _expect_created(observed, state.second, answer)
    _expect_one_order(observed, state, state.second, answer.document)
    observed.text += ", because fault injection is off; this made the second order"
    observed.is_skipped = True
    return observed


def _retry_after_failure(state: Verification) -> Observation:
    if state.is_injection_off:
        raise StepSkipped("fault injection is off")
    answer = state.order(state.second)
    observed = Observation(_describe(state, answer))
    _expect_created(observed, state.second, answer)
    _expect_replay(observed, answer)
    is_same = state.committed_id in (None, answer.document.get("order_id"))
    observed.expect(is_same, "the answer is not the order that was committed")
    _expect_one_order(observed, state, state.second, answer.document)
    return observed


def _show(state: Verification) -> Observation:
    order = state.first_answer().document
    answer = state.server.send("GET", f"/orders/{order['order_id']}")
    observed = Observation(_describe(state, answer))
    observed.expect(answer.status == 200, "the status is not 200")
    observed.expect(answer.document == order, "the answer is not the order of step 1")
    under_key = state.list_orders(idempotency_key=state.first.key)
    observed.expect(
        under_key == [order], f"the list for the key has {_count(under_key)} instead of that order"
    )
    return observed


STEPS = (
    Step("step 1, create", "201 and the new order", _create),
    Step("step 2, retry", "201 and the same answer, as a replay; one order", _retry),
    Step(
        "step 3, same key with another payload",
        "409 idempotency-key-reused; nothing changed",
        _conflict,
    ),
    Step(
        "step 4, failure after the commit",
        "500 simulated-failure, or a time-out; one order",
        _fail_after_commit,
    ),
    Step(
        "step 5, retry after the failure",
        "201 and the committed order, as a replay; one order",
        _retry_after_failure,
    ),
    Step("step 6, show", "200 and the order of step 1; one order under its key", _show),
)


def _expect_created(observed: Observation, trial: Trial, answer: ServerAnswer) -> None:
    observed.expect(answer.status == REPLY_STATUS, f"the status is not {REPLY_STATUS}")
    order_id = answer.document.get("order_id")
    is_id = isinstance(order_id, str) and _ORDER_ID.fullmatch(order_id)
    observed.expect(bool(is_id), "there is no order_id")
    expected = {"order_id": order_id, **trial.payload, "status": ORDER_STATUS}
    # The comparison is of text, because in Python `1.0` and `true` equal 1.
    is_order = json.dumps(answer.document, sort_keys=True) == json.dumps(expected, sort_keys=True)
    observed.expect(is_order, "the body is not the order that was sent, with the status created")
    observed.expect(
        _location(answer) == f"/orders/{order_id}", "the Location is not that of the order"
    )


def _expect_replay(observed: Observation, answer: ServerAnswer) -> None:
    is_replay = answer.headers.get("idempotent-replayed") == "true"
    observed.expect(is_replay, "'Idempotent-Replayed: true' is missing")


def _expect_one_order(
    observed: Observation, state: Verification, trial: Trial, order: dict[str, Any]
) -> None:
    orders = state.list_orders(customer_id=trial.customer_id)
    observed.expect(
        orders == [order], f"GET /orders returned {_count(orders)} instead of only this one"
    )


def _location(answer: ServerAnswer) -> str | None:
    return answer.headers.get("location")


def _are_orders(orders: Any) -> bool:
    return isinstance(orders, list) and all(isinstance(order, dict) for order in orders)


def _count(orders: Any) -> str:
    if not _are_orders(orders):
        return "no list of orders"
    return {0: "no order", 1: "another order"}.get(len(orders), f"{len(orders)} orders")


def _describe(state: Verification, answer: ServerAnswer) -> str:
    """Describe an answer in a few words."""
    text = str(answer.status)
    if "order_id" in answer.document:
        text += f", order {shorten(state, answer.document['order_id'])}"
    elif "type" in answer.document:
        text += f", {shorten(state, answer.document['type'])}"
    elif 300 <= answer.status < 400:
        text += f" to {shorten(state, _location(answer))}, not followed"
    else:
        text += f", {shorten(state, answer.body.decode(errors='replace'))}"
    if "idempotent-replayed" in answer.headers:
        text += ", replayed"
    return text


def shorten(state: Verification, value: object) -> str:
    """Return text of a server as one short line of ASCII, which is safe for a terminal."""
    text = state.server.hide_token(value if isinstance(value, str) else json.dumps(value))
    if len(text) > _SHOWN_MAX_CHARS:
        text = text[:_SHOWN_MAX_CHARS] + "..."
    return text.encode("unicode_escape").decode() or "nothing"
