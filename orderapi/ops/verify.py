"""`orderapi verify` checks exactly-once effects on a live server, in six steps, and in its rows."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orderapi.errors import StoreUnavailable
from orderapi.maintenance_records import Effects
from orderapi.ops.six_steps import STEPS, Step, StepSkipped, Trial, Verification, shorten
from orderapi.ops.target import NoAnswer, Target
from orderapi.store.contract import Store
from orderapi.store.statements.orders import COUNT_EFFECTS

OK = "ok"
FAILED = "FAILED"
SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a step. `verdict` is OK, FAILED or SKIPPED."""

    name: str
    verdict: str
    expected: str
    seen: str


def verify(
    server: Target, trials: tuple[Trial, Trial], store: Store | None = None
) -> Iterator[Result]:
    """Run the six steps, check the rows in `store`, and yield each result when it is known.

    `trials` come from `new_trials`. Each of them becomes one order, unless the server does not
    answer, or refuses the token.
    """
    state = Verification(server, *trials)
    for step in STEPS:
        yield _run_step(state, step)
    if store is not None:
        for number, trial in enumerate(trials, start=1):
            yield _check_rows(state, store, number, trial)


def new_trials() -> tuple[Trial, Trial]:
    """Return the two orders of one verification. Their keys and customers are new.

    The customers are new so that a list of their orders shows an order too many.
    """
    run_id = secrets.token_hex(8)
    return (
        _trial(f"test-{run_id}", f"cust1-{run_id}", "item1"),
        _trial(f"test-fail-{run_id}", f"cust2-{run_id}", "item2"),
    )


def rows_by_hand(trials: Sequence[Trial]) -> str:
    """Return an SQL statement that shows the rows of these orders.

    It must return one row for each order, with three counts of 1.
    """
    # `new_trials` made these names, so nothing in them needs escaping.
    customers = ", ".join(f"'{trial.customer_id}'" for trial in trials)
    return COUNT_EFFECTS.replace("= :customer_id", f"IN ({customers})") + ";"


def _trial(key: str, customer_id: str, item_id: str) -> Trial:
    return Trial(key, {"customer_id": customer_id, "item_id": item_id, "quantity": 1})


def _run_step(state: Verification, step: Step) -> Result:
    if state.stopped_because:
        return _skip(step.name, step.expected, state.stopped_because)
    try:
        observed = step.run(state)
    except StepSkipped as error:
        return _skip(step.name, step.expected, str(error))
    except NoAnswer as error:
        return Result(step.name, FAILED, step.expected, f"no answer: {shorten(state, str(error))}")
    if observed.wrong:
        text = f"{observed.text}; but {', '.join(observed.wrong)}"
        return Result(step.name, FAILED, step.expected, text)
    return Result(step.name, SKIPPED if observed.is_skipped else OK, step.expected, observed.text)


def _check_rows(state: Verification, store: Store, number: int, trial: Trial) -> Result:
    name = f"rows of order {number}"
    expected = "1 order with 1 ledger entry, 1 idempotency record and 1 event"
    if state.stopped_because:
        return _skip(name, expected, state.stopped_because)
    try:
        found = store.read(lambda tx: tx.orders.count_effects(trial.customer_id))
    except StoreUnavailable as error:
        return Result(name, FAILED, expected, f"the database cannot be read: {error.reason}")
    holds = [_counts(effects) for effects in found] == [(1, 1, 1)]
    return Result(name, OK if holds else FAILED, expected, _describe_rows(found))


def _skip(name: str, expected: str, reason: str) -> Result:
    return Result(name, SKIPPED, expected, f"nothing, because {reason}")


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
