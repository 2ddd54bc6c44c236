"""The six steps of `orderapi verify`: what each sends, what it expects and what it makes of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from orderapi.ops.target import AnswerLate, NoAnswer, ServerAnswer, Target

_SHOWN_MOST_CHARS = 120
# It becomes part of a path.
_ORDER_ID = re.compile(r"[0-9A-Za-z-]{1,128}")


@dataclass(frozen=True, slots=True)
class Trial:
    """One order of a run: the key that it is sent under, and what is ordered."""

    key: str
    payload: dict[str, str | int]

    @property
    def customer_id(self) -> str:
        """The customer, who has no other order."""
        return str(self.payload["customer_id"])


class NotTaken(Exception):
    """The step makes no sense now; the message says why."""


@dataclass(slots=True)
class Run:
    """A run under way: what the steps so far have found out.

    `created` is step 1's answer once that step holds, `committed_id` the second order's id once it
    is known to be committed.
    """

    server: Target
    first: Trial
    second: Trial
    created: ServerAnswer | None = None
    committed_id: str | None = None
    is_unanswered: bool = False
    is_injection_off: bool = False

    def first_answer(self) -> ServerAnswer:
        """Give step 1's answer; raises NotTaken if that step did not hold."""
        if self.created is None:
            raise NotTaken("there is no order of step 1")
        return self.created

    def order(self, trial: Trial, *, quantity: int = 1, fail: bool = False) -> ServerAnswer:
        """Send a trial's order."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": trial.key}
        if fail:
            headers["X-Debug-Fail-After-Commit"] = "true"
        body = json.dumps(trial.payload | {"quantity": quantity})
        return self.server.send("POST", "/orders", body, headers)

    def listed(self, **filters: str) -> Any:
        """Give the list of orders that the filters name; None if there is no such list."""
        answer = self.server.send("GET", f"/orders?{urlencode(filters)}")
        return answer.document.get("orders") if answer.status == 200 else None


@dataclass(slots=True)
class Seen:
    """What a step has seen, and what of it is wrong."""

    text: str
    wrong: list[str] = field(default_factory=list)
    is_skipped: bool = False

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong unless it holds."""
        if not holds:
            self.wrong.append(otherwise)


@dataclass(frozen=True, slots=True)
class Step:
    """A step's name, what it expects, and how it is taken: that raises NoAnswer and NotTaken."""

    name: str
    expected: str
    act: Callable[[Run], Seen]


def _create(run: Run) -> Seen:
    try:
        answer = run.order(run.first)
    except NoAnswer:
        run.is_unanswered = True
        raise
    seen = Seen(_describe(run, answer))
    _expect_created(seen, run.first, answer)
    seen.expect("idempotent-replayed" not in answer.headers, "it is called a replay")
    if not seen.wrong:
        run.created = answer
    return seen


def _retry(run: Run) -> Seen:
    first = run.first_answer()
    answer = run.order(run.first)
    seen = Seen(_describe(run, answer))
    seen.expect(answer.status == first.status, "the status differs")
    seen.expect(answer.body == first.body, "the body differs")
    seen.expect(_location(answer) == _location(first), "the Location differs")
    _expect_replay(seen, answer)
    _expect_one_order(seen, run, run.first, first.document)
    return seen


def _conflict(run: Run) -> Seen:
    first = run.first_answer()
    answer = run.order(run.first, quantity=5)
    seen = Seen(_describe(run, answer))
    seen.expect(answer.status == 409, "the status is not 409")
    is_ours = answer.document.get("type") == "/problems/idempotency-key-reused"
    seen.expect(is_ours, "it is not the problem idempotency-key-reused")
    _expect_one_order(seen, run, run.first, first.document)
    return seen


def _fail_after_commit(run: Run) -> Seen:
    try:
        answer = run.order(run.second, fail=True)
    except AnswerLate as error:
        seen = Seen(str(error))
    else:
        seen = Seen(_describe(run, answer))
        if answer.status == 201:
            return _injection_off(run, seen, answer)
        seen.expect(answer.status == 500, "the status is not 500")
        is_ours = answer.document.get("type") == "/problems/simulated-failure"
        seen.expect(is_ours, "it is not the problem simulated-failure")
    orders = run.listed(customer_id=run.second.customer_id)
    is_committed = _are_orders(orders) and len(orders) == 1
    seen.expect(is_committed, f"the list has {_count(orders)} instead of the committed one")
    if is_committed:
        run.committed_id = orders[0].get("order_id")
        seen.text += f"; order {brief(run, run.committed_id)} is there"
    return seen


def _injection_off(run: Run, seen: Seen, answer: ServerAnswer) -> Seen:
    """Note that the failure cannot be had; the order that was made instead must be right."""
    run.is_injection_off = True
    _expect_created(seen, run.second, answer)
    _expect_one_order(seen, run, run.second, answer.document)
    seen.text += ", for fault injection is off; this made the second order"
    seen.is_skipped = True
    return seen


def _retry_after_failure(run: Run) -> Seen:
    if run.is_injection_off:
        raise NotTaken("fault injection is off")
    answer = run.order(run.second)
    seen = Seen(_describe(run, answer))
    _expect_created(seen, run.second, answer)
    _expect_replay(seen, answer)
    is_same = run.committed_id in (None, answer.document.get("order_id"))
    seen.expect(is_same, "it is not the order that was committed")
    _expect_one_order(seen, run, run.second, answer.document)
    return seen


def _show(run: Run) -> Seen:
    order = run.first_answer().document
    answer = run.server.send("GET", f"/orders/{order['order_id']}")
    seen = Seen(_describe(run, answer))
    seen.expect(answer.status == 200, "the status is not 200")
    seen.expect(answer.document == order, "it is not the order of step 1")
    under_key = run.listed(idempotency_key=run.first.key)
    seen.expect(under_key == [order], f"the key has {_count(under_key)} instead of that one")
    return seen


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


def _expect_created(seen: Seen, trial: Trial, answer: ServerAnswer) -> None:
    seen.expect(answer.status == 201, "the status is not 201")
    order_id = answer.document.get("order_id")
    is_id = isinstance(order_id, str) and _ORDER_ID.fullmatch(order_id)
    seen.expect(bool(is_id), "there is no order_id")
    expected = {"order_id": order_id, **trial.payload, "status": "created"}
    # As text, or `1.0` and `true` would pass for 1.
    is_order = json.dumps(answer.document, sort_keys=True) == json.dumps(expected, sort_keys=True)
    seen.expect(is_order, "the body is not the order that was sent, created")
    seen.expect(_location(answer) == f"/orders/{order_id}", "the Location is not the order's")


def _expect_replay(seen: Seen, answer: ServerAnswer) -> None:
    is_replay = answer.headers.get("idempotent-replayed") == "true"
    seen.expect(is_replay, "'Idempotent-Replayed: true' is missing")


def _expect_one_order(seen: Seen, run: Run, trial: Trial, order: dict[str, Any]) -> None:
    orders = run.listed(customer_id=trial.customer_id)
    seen.expect(orders == [order], f"the list has {_count(orders)} instead of just this one")


def _location(answer: ServerAnswer) -> str | None:
    return answer.headers.get("location")


def _are_orders(orders: Any) -> bool:
    return isinstance(orders, list) and all(isinstance(order, dict) for order in orders)


def _count(orders: Any) -> str:
    if not _are_orders(orders):
        return "no list of orders"
    return {0: "no order", 1: "another order"}.get(len(orders), f"{len(orders)} orders")


def _describe(run: Run, answer: ServerAnswer) -> str:
    """Say in a few words what came back."""
    text = str(answer.status)
    if "order_id" in answer.document:
        text += f", order {brief(run, answer.document['order_id'])}"
    elif "type" in answer.document:
        text += f", {brief(run, answer.document['type'])}"
    elif 300 <= answer.status < 400:
        text += f" to {brief(run, _location(answer))}, not followed"
    else:
        text += f", {brief(run, answer.body.decode(errors='replace'))}"
    if "idempotent-replayed" in answer.headers:
        text += ", replayed"
    return text


def brief(run: Run, value: object) -> str:
    """Give what a server sent as one short piece of ASCII, safe for a terminal."""
    text = run.server.hide_token(value if isinstance(value, str) else json.dumps(value))
    if len(text) > _SHOWN_MOST_CHARS:
        text = text[:_SHOWN_MOST_CHARS] + "..."
    return text.encode("unicode_escape").decode() or "nothing"
