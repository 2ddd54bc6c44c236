"""Places orders: all orders that wait in this process become one call of `place_orders_v1`.

The call and its COMMIT take one round trip. Everything here runs on the thread (under gevent: in
the greenlet) of the drain.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from orderapi import idempotency
from orderapi.errors import KeyReused, StoreUnavailable
from orderapi.orders import ORDER_STATUS, REPLY_STATUS, event_payload
from orderapi.records import Claim, NewOrder, Order, Reply, SavedClaim
from orderapi.store.commit_stats import CommitStats
from orderapi.store.jobs import Job, find_nothing
from orderapi.store.postgres.connection import ANSWER_MARGIN_S
from orderapi.store.postgres.failures import Verdict, store_unavailable, verdict_on
from orderapi.store.postgres.primary import Primary
from orderapi.store.postgres.queue import Queue
from orderapi.store.postgres.session import RETRY_PAUSE_S, failure_of_warning, is_lasting

# If a call takes longer, writes probably do not commit now.
SLOW_S = 1.0

_CALL = (
    "SELECT * FROM place_orders_v1(%s, %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],"
    " %s::integer[], %s::text[], %s::text[], %s::text[], %s::text[])"
)
# This character marks the place in a document where the server inserts the order_id.
_PLACEHOLDER = "\N{OBJECT REPLACEMENT CHARACTER}"
# The last two groups of a UUID have 62 random bits, after the two bits of the variant.
_RANDOM_BITS = 62
_VARIANT = 0b10 << _RANDOM_BITS


@dataclass(frozen=True, slots=True)
class Placement:
    """An order to place.

    `head` and `tail` are the parts of its JSON document before and after the order_id. `id_end` has
    the last two groups of the UUID that the order gets. After an unknown outcome, they show whether
    the order was made for this placement.
    """

    claim: Claim
    new_order: NewOrder
    traceparent: str | None
    head: str
    tail: str
    id_end: str

    def is_own(self, order_id: str) -> bool:
        """Tell whether an order was made for this placement."""
        return order_id.endswith(self.id_end)


def placement_of(claim: Claim, new: NewOrder, traceparent: str | None) -> Placement:
    """Make the placement of an order, with a random end of its id."""
    order = Order(
        _PLACEHOLDER, new.client_id, new.customer_id, new.item_id, new.quantity, ORDER_STATUS, ""
    )
    # The order_id is the first member, so no text of the client comes before it.
    head, _, tail = event_payload(order).partition(_PLACEHOLDER)
    digits = f"{_VARIANT | secrets.randbits(_RANDOM_BITS):016x}"
    return Placement(claim, new, traceparent, head, tail, f"{digits[:4]}-{digits[4:]}")


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one call has committed: the answers in the order of the placements, and some figures."""

    outcomes: list[Reply | KeyReused]
    made: int
    last_sequence: int
    lock_wait_s: float


class Placements:
    """The orders that this process places through one connection."""

    def __init__(self, primary: Primary, stats: CommitStats) -> None:
        self._primary = primary
        self._stats = stats
        self.queue = Queue(primary, self._run)
        self._began_at = float("inf")
        self._has_failed = False
        # The number of the last event when a batch was last committed without a warning. This
        # event, and all events before it, are on every standby that a COMMIT waits for.
        self.safe_sequence = 0

    def place(
        self,
        placement: Placement,
        deadline: float,
        look_up: Callable[[], Reply | None] = find_nothing,
    ) -> Reply:
        """Place an order, in one batch with the other orders that wait.

        `look_up` has the meaning that it has in `GroupCommit.submit`. Raises KeyReused if the key
        belongs to another payload, and StoreUnavailable if the outcome is not known by the
        deadline.
        """
        reply: Reply = self.queue.submit(placement, deadline, look_up)
        return reply

    def is_healthy(self) -> bool:
        """Tell whether writes commit, as far as this process knows."""
        return not self._has_failed and time.monotonic() - self._began_at < SLOW_S

    def _run(self, jobs: list[Job]) -> None:
        """Place a batch, and note how each job ended.

        After a failure that may be temporary, the batch is sent again until the deadline. The first
        call may have committed it nevertheless. A repetition is safe, because each key is claimed
        only once.
        """
        deadline = max(job.deadline for job in jobs)
        while True:
            try:
                answers = self._call([job.work for job in jobs], deadline)
            except (psycopg.Error, UnicodeEncodeError, StoreUnavailable) as error:
                failure = error
            else:
                self._note_success(answers)
                for job, outcome in zip(jobs, answers.outcomes, strict=True):
                    _end(job, outcome)
                return
            verdict = _verdict_on(failure)
            if verdict is Verdict.BAD_ROW:
                self._isolate(jobs, failure)
                return
            self._has_failed = True
            if verdict is Verdict.RECONNECT:
                self._primary.drop()
            if verdict is Verdict.REFUSED or time.monotonic() + RETRY_PAUSE_S >= deadline:
                for job in jobs:
                    job.end(error=_failure_for_caller(failure))
                return
            time.sleep(RETRY_PAUSE_S)

    def _isolate(self, jobs: list[Job], failure: Exception) -> None:
        """Send each half of a batch alone, so that a bad row fails only its own order."""
        if len(jobs) == 1:
            jobs[0].end(error=failure)
            return
        middle = len(jobs) // 2
        self._run(jobs[:middle])
        self._run(jobs[middle:])

    def _call(self, placements: list[Placement], deadline: float) -> _Answers:
        self._began_at = time.monotonic()
        try:
            connection = self._primary.connection(deadline)
            if time.monotonic() + ANSWER_MARGIN_S >= deadline:
                raise StoreUnavailable("the connection was opened too late for the deadline")
            parameters = _parameters(placements, connection.remaining_ms())
            called_at = time.monotonic()
            rows = connection.execute(_CALL, parameters, prepare=False).fetchall()
            took_s = time.monotonic() - called_at
        finally:
            self._began_at = float("inf")
        if connection.notices:
            # A COMMIT sends a warning if its wait for the standby was cancelled.
            self._primary.drop()
            raise failure_of_warning(connection)
        answers = _answers(placements, rows)
        if answers.made:
            self._stats.note_lock_wait(answers.lock_wait_s)
            self._stats.note_batch(answers.made, took_s - answers.lock_wait_s)
        return answers

    def _note_success(self, answers: _Answers) -> None:
        self._has_failed = False
        self.safe_sequence = answers.last_sequence
        if answers.made:
            self._stats.note_commit()


def _parameters(placements: list[Placement], wait_ms: int) -> list[object]:
    orders = [placement.new_order for placement in placements]
    return [
        wait_ms,
        [placement.claim.client_id for placement in placements],
        [placement.claim.key for placement in placements],
        [placement.claim.fingerprint for placement in placements],
        [order.customer_id for order in orders],
        [order.item_id for order in orders],
        [order.quantity for order in orders],
        [placement.head for placement in placements],
        [placement.tail for placement in placements],
        [placement.id_end for placement in placements],
        [placement.traceparent for placement in placements],
    ]


def _answers(placements: list[Placement], rows: Sequence[Any]) -> _Answers:
    found: dict[int, Reply | KeyReused] = {}
    made = 0
    for place, is_made, order_id, fingerprint, status, body, _, _ in rows:
        placement = placements[place - 1]
        if is_made:
            made += 1
            body = f"{placement.head}{order_id}{placement.tail}\n"
            found[place] = Reply(REPLY_STATUS, body, order_id)
        else:
            found[place] = answer_to(placement, SavedClaim(fingerprint, status, body, order_id))
    _, _, _, _, _, _, last_sequence, lock_wait_s = rows[0]
    outcomes = [found[place + 1] for place in range(len(placements))]
    return _Answers(outcomes, made, last_sequence, lock_wait_s)


def answer_to(placement: Placement, saved: SavedClaim) -> Reply | KeyReused:
    """Give the answer to a placement whose key was claimed before, maybe by this placement."""
    try:
        reply = idempotency.replay(saved, placement.claim)
    except KeyReused as conflict:
        return conflict
    return replace(reply, replayed=not placement.is_own(saved.order_id))


def _end(job: Job, outcome: Reply | KeyReused) -> None:
    if isinstance(outcome, KeyReused):
        job.end(error=outcome)
    else:
        job.end(outcome)


def _verdict_on(failure: Exception) -> Verdict:
    if isinstance(failure, StoreUnavailable):
        # No connection was opened in time, or the server has warned and its connection was dropped.
        # A connection that was opened late is good, and the next batch needs it.
        return Verdict.REFUSED if is_lasting(failure) else Verdict.REPEAT
    return verdict_on(failure)


def _failure_for_caller(failure: Exception) -> StoreUnavailable:
    if isinstance(failure, StoreUnavailable):
        return failure.copy()
    return store_unavailable(failure)
