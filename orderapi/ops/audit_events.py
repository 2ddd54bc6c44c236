"""What must hold over all events: numbers without a gap, and ids that no other event has."""

import re
from collections.abc import Iterator, Sequence

from orderapi.errors import StoreCorrupt
from orderapi.ops.audit_rows import show
from orderapi.store.audit_tx import NumberedEvent
from orderapi.store.contract import Store

# Events per snapshot.
RANGE_EVENTS = 5_000
_SEQUENCE_LEAST = -(2**63)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION_AT = 14
# The digits of a UUIDv7 that are its time, in milliseconds (RFC 9562 section 5.7).
_TIME_DIGITS = 13


def check_events(store: Store) -> Iterator[str]:
    """Give a line per number that is missing or not single, and per id that is not its event's own.

    Damage that hides the rest is a finding, and the last one.
    """
    start, expected = _SEQUENCE_LEAST, 1
    while True:
        try:
            # The first of the next range comes along.
            found = store.read(lambda tx: tx.list_numbered_events(start, RANGE_EVENTS + 1))  # noqa: B023 - run at once
            yield from _check_ids(store, found)
        except StoreCorrupt as error:
            yield f"events from sequence {expected} on: cannot be read: {error.reason}"
            return
        for sequence, times, _, _ in found[:RANGE_EVENTS]:
            if times != 1 or sequence != expected:
                yield from _explain_sequence(sequence, times, expected)
            expected = max(expected, sequence + 1)
        if len(found) <= RANGE_EVENTS:
            return
        start = found[RANGE_EVENTS][0]


def _explain_sequence(sequence: int, times: int, expected: int) -> Iterator[str]:
    if times != 1:
        yield f"events sequence {sequence}: is there {times} times"
    if sequence < 1:
        yield f"events sequence {sequence}: is less than 1"
    elif sequence > expected:
        last = "" if sequence == expected + 1 else f" to {sequence - 1}"
        yield f"events sequence {expected}{last}: is missing before {sequence}"


def _check_ids(store: Store, found: Sequence[NumberedEvent]) -> Iterator[str]:
    """Compare ids with their neighbours; whichever stands out is searched for in all events.

    An event's id is made after its order's, and before the next order's: whoever has the id of an
    event elsewhere stands out of that order.
    """
    sequences: dict[object, int] = {}
    for at, (sequence, _, event_id, order_id) in enumerate(found[:RANGE_EVENTS]):
        later = found[at + 1] if at + 1 < len(found) else None
        if not isinstance(event_id, str) or not _UUID.fullmatch(event_id):
            yield f"events sequence {sequence}: event_id {show(event_id)} is no UUID in lower case"
        elif event_id in sequences:
            yield _shared(sequence, event_id, sequences[event_id])
        elif _stands_out(event_id, order_id, later):
            others = store.read(lambda tx: tx.list_sequences_of_id(event_id))  # noqa: B023 - run at once
            for other in others:
                if other != sequence:
                    yield _shared(sequence, event_id, other)
        sequences[event_id] = sequence


def _shared(sequence: int, event_id: str, other: int) -> str:
    return f"events sequence {sequence}: event_id {event_id} is also that of sequence {other}"


def _stands_out(event_id: str, order_id: object, later: NumberedEvent | None) -> bool:
    if event_id[_VERSION_AT] != "7":
        return False  # Random, as the first releases made them.
    if not isinstance(order_id, str) or event_id <= order_id:
        return True
    next_order_id = later[3] if later is not None else None
    if not isinstance(next_order_id, str):
        return False
    return event_id[:_TIME_DIGITS] > next_order_id[:_TIME_DIGITS]
