"""Ways to break events by hand, and the finding of the audit for each."""

from tests.support.broken_rows import EVENT, IN_EVENTS, ORDER, changed, rebuilt


def swapped(sequence: str, other: str) -> str:
    """Give each of two events the number of the other one."""
    return (
        f"UPDATE events SET sequence = -1 WHERE sequence = {sequence};"
        f" UPDATE events SET sequence = {sequence} WHERE sequence = {other};"
        f" UPDATE events SET sequence = {other} WHERE sequence = -1;"
    )


BROKEN_EVENTS: dict[str, tuple[str, list[str]]] = {
    "last event deleted": (
        "DELETE FROM events WHERE sequence = 300",
        ["has 0 rows in events, not 1"],
    ),
    "event in the middle deleted": (
        "DELETE FROM events WHERE order_id = '{id}'",
        [ORDER + " has 0 rows in events", "events sequence {event}: is missing before"],
    ),
    "events in the middle deleted": (
        "DELETE FROM events WHERE sequence BETWEEN 60 AND 80",
        ["events sequence 60 to 80: is missing before 81"],
    ),
    "first event deleted": (
        "DELETE FROM events WHERE sequence = 1",
        ["events sequence 1: is missing before 2"],
    ),
    "event moved": (
        changed(IN_EVENTS, "sequence = 5000"),
        [EVENT + " is missing before", "events sequence 301 to 4999: is missing before 5000"],
    ),
    "event number not positive": (
        changed(IN_EVENTS, "sequence = -3"),
        ["events sequence -3: is less than 1", EVENT + " is missing before"],
    ),
    "event number doubled": (
        rebuilt("events") + changed(IN_EVENTS, "sequence = sequence + 1"),
        ["events sequence {event+1}: occurs 2 times", EVENT + " is missing before"],
    ),
    "events of two neighbours swapped": (
        swapped("{event}", "{event+1}"),
        ["events sequence {event} and {event+1}: order_id '{id}' was committed before"],
    ),
    "events of two distant orders swapped": (
        swapped("43", "{event}"),
        [
            "events sequence 43 and 44: order_id",
            "and {event}: order_id '{other}' was committed before",
        ],
    ),
    "event with the id of one long before": (
        changed(IN_EVENTS, "event_id = (SELECT event_id FROM events WHERE sequence = 7)"),
        ["events sequence 7, {event}: all have event_id"],
    ),
    "event with the id of one long after": (
        changed(IN_EVENTS, "event_id = (SELECT event_id FROM events WHERE sequence = 299)"),
        ["events sequence {event}, 299: all have event_id"],
    ),
    "events with one id": (
        "UPDATE events SET event_id = (SELECT event_id FROM events WHERE sequence = 60)"
        " WHERE sequence BETWEEN 90 AND 91",
        ["events sequence 60, 90, 91: all have event_id"],
    ),
    "event without an id": (
        changed(IN_EVENTS, "event_id = ''"),
        [EVENT + " event_id is '', which is not a UUID"],
    ),
    "event of another type": (
        changed(IN_EVENTS, "type = 'order.deleted'"),
        [EVENT + " type is 'order.deleted', not 'order.created'"],
    ),
    "second event": (
        "INSERT INTO events SELECT 301, 'e', 'order.again', order_id, client_id, payload,"
        " created_at, traceparent FROM events WHERE order_id = '{id}'",
        [ORDER + " has 2 rows in events", "events sequence 301: type is 'order.again'"],
    ),
    "event of another client": (
        changed(IN_EVENTS, "client_id = 'eve'"),
        [EVENT + " client_id is 'eve', not 'public'"],
    ),
    "event's payload changed": (
        changed(IN_EVENTS, "payload = replace(payload, 'cust3', 'cust4')"),
        [EVENT + " payload is"],
    ),
    "event's time changed": (
        changed(IN_EVENTS, "created_at = ''"),
        [EVENT + " created_at is ''"],
    ),
    "event of no order": (
        changed(IN_EVENTS, "order_id = '{gone}'"),
        [EVENT + " there is no order '{gone}'", ORDER + " has 0 rows in events"],
    ),
}
