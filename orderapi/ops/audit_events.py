"""What the audit proves about all events together: gapless numbers, their order, and unique ids."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from orderapi.errors import StoreCorrupt
from orderapi.ops.audit_rows import show
from orderapi.store.maintenance import Auditable

# The events of one snapshot.
RANGE_EVENTS = 5_000
_SEQUENCE_MIN = -(2**63)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# All ids are compared in parts, by their last digit. Each part is one snapshot and takes 0.3 s per
# million events.
_PARTS = ("0123", "4567", "89ab", "cdef")


def check_events(store: Auditable) -> Iterator[str]:
    """Yield one line for each sequence number or event id that is wrong.

    Damage that prevents further checks is a finding too.
    """
    yield from _check_rows(store)
    try:
        for digits in _PARTS:
            yield from _check_ids(store, digits)
    except StoreCorrupt as error:
        yield f"events: their ids cannot be compared: {error.reason}"


def _check_rows(store: Auditable) -> Iterator[str]:
    start, expected = _SEQUENCE_MIN, 1
    previous: object = None
    while True:
        try:
            # The first event of the next range is read with this range.
            found = store.read(lambda tx: tx.audit.list_sequences(start, RANGE_EVENTS + 1))  # noqa: B023 - the store calls it immediately
        except StoreCorrupt as error:
            yield f"events from sequence {expected} on: cannot be read: {error.reason}"
            return
        yield from check_run(found[:RANGE_EVENTS], expected, previous)
        if len(found) <= RANGE_EVENTS:
            return
        last_sequence, _, _, previous = found[RANGE_EVENTS - 1]
        expected = max(expected, last_sequence + 1)
        start = found[RANGE_EVENTS][0]


def check_run(
    found: Sequence[tuple[int, int, object, object]], expected: int, previous: object
) -> Iterator[str]:
    """Check events that follow each other. Yield one line for each number or id that is wrong.

    `found` is a result of `list_sequences`. `expected` is the number that the first event should
    have, and `previous` is the order_id of the event before it, if that is known.
    """
    for sequence, times, event_id, order_id in found:
        if times != 1 or sequence != expected:
            yield from _explain_sequence(sequence, times, expected)
        if not isinstance(event_id, str) or not _UUID.fullmatch(event_id):
            yield f"events sequence {sequence}: event_id is {show(event_id)}, which is not a UUID"
        if isinstance(order_id, str) and isinstance(previous, str) and order_id <= previous:
            yield (
                f"events sequence {sequence - 1} and {sequence}: order_id {show(order_id)} was"
                f" committed before order_id {show(previous)}, so one of them has the event of"
                " another order"
            )
        expected, previous = max(expected, sequence + 1), order_id


def _explain_sequence(sequence: int, times: int, expected: int) -> Iterator[str]:
    if times != 1:
        yield f"events sequence {sequence}: occurs {times} times"
    if sequence < 1:
        yield f"events sequence {sequence}: is less than 1"
    elif sequence > expected:
        last = "" if sequence == expected + 1 else f" to {sequence - 1}"
        yield f"events sequence {expected}{last}: is missing before {sequence}"


def _check_ids(store: Auditable, digits: str) -> Iterator[str]:
    if not store.read(lambda tx: tx.audit.has_repeated_event_ids(digits)):
        return
    repeated = store.read(lambda tx: tx.audit.list_repeated_event_ids(digits))
    for event_id, rows in groupby(repeated, lambda row: row[0]):
        sequences = ", ".join(str(sequence) for _, sequence in rows)
        yield f"events sequence {sequences}: all have event_id {event_id}"
