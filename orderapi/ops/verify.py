"""`orderapi verify`: shows exactly-once effects on a live server, in six steps, and on its disk."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orderapi.errors import StoreUnavailable
from orderapi.ops.six_steps import STEPS, NotTaken, Run, Step, Trial, brief
from orderapi.ops.target import NoAnswer, Target
from orderapi.records import Effects
from orderapi.store.contract import Store
from orderapi.store.statements.orders import COUNT_EFFECTS

OK = "ok"
FAILED = "FAILED"
SKIPPED = "skipped"

_UNANSWERED = "step 1 got no answer"


@dataclass(frozen=True, slots=True)
class Result:
    """How a step ended: `verdict` is OK, FAILED or SKIPPED."""

    name: str
    verdict: str
    expected: str
    seen: str


def verify(
    server: Target, trials: tuple[Trial, Trial], store: Store | None = None
) -> Iterator[Result]:
    """Run the six steps, look at the rows in `store`, and give each result once it is known.

    `trials` come from `new_trials`. Each becomes one order, unless the server gives no answer.
    """
    run = Run(server, *trials)
    for step in STEPS:
        yield _take(run, step)
    if store is not None:
        for number, trial in enumerate(trials, start=1):
            yield _look_at_rows(run, store, number, trial)


def new_trials() -> tuple[Trial, Trial]:
    """Give the two orders of one run, under keys and customers that nobody has used.

    The customers are fresh so that a list of their orders shows a surplus one.
    """
    run_id = secrets.token_hex(8)
    return (
        _trial(f"test-{run_id}", f"cust1-{run_id}", "item1"),
        _trial(f"test-fail-{run_id}", f"cust2-{run_id}", "item2"),
    )


def rows_by_hand(trials: Sequence[Trial]) -> str:
    """Give the SQL that shows the rows of these orders, to be run as it is.

    It should give a row for each of them, with three counts of 1.
    """
    # Our own names: nothing in them needs escaping.
    customers = ", ".join(f"'{trial.customer_id}'" for trial in trials)
    return COUNT_EFFECTS.replace("= :customer_id", f"IN ({customers})") + ";"


def _trial(key: str, customer_id: str, item_id: str) -> Trial:
    return Trial(key, {"customer_id": customer_id, "item_id": item_id, "quantity": 1})


def _take(run: Run, step: Step) -> Result:
    if run.is_unanswered:
        return _skipped(step.name, step.expected, _UNANSWERED)
    try:
        seen = step.act(run)
    except NotTaken as error:
        return _skipped(step.name, step.expected, str(error))
    except NoAnswer as error:
        return Result(step.name, FAILED, step.expected, f"no answer: {brief(run, str(error))}")
    if seen.wrong:
        text = f"{seen.text}; but {', '.join(seen.wrong)}"
        return Result(step.name, FAILED, step.expected, text)
    return Result(step.name, SKIPPED if seen.is_skipped else OK, step.expected, seen.text)


def _look_at_rows(run: Run, store: Store, number: int, trial: Trial) -> Result:
    name = f"rows of order {number}"
    expected = "1 order with 1 ledger entry, 1 idempotency record and 1 event"
    if run.is_unanswered:
        return _skipped(name, expected, _UNANSWERED)
    try:
        found = store.read(lambda tx: tx.orders.count_effects(trial.customer_id))
    except StoreUnavailable as error:
        return Result(name, FAILED, expected, f"no database: {error.reason}")
    holds = [_counts(effects) for effects in found] == [(1, 1, 1)]
    return Result(name, OK if holds else FAILED, expected, _describe_rows(found))


def _skipped(name: str, expected: str, reason: str) -> Result:
    return Result(name, SKIPPED, expected, f"nothing, for {reason}")


def _counts(effects: Effects) -> tuple[int, int, int]:
    return effects.ledger_entries, effects.idempotency_records, effects.events


def _describe_rows(found: Sequence[Effects]) -> str:
    if not found:
        return "no order; is this the server's database?"
    return "; ".join(
        f"order {effects.order_id} with {effects.ledger_entries}, {effects.idempotency_records} "
        f"and {effects.events}"
        for effects in found
    )
