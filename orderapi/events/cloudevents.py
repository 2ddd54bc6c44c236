"""How an event is written for others: CloudEvents 1.0, in its JSON format."""

from collections.abc import Iterable

from orderapi.documents import encode
from orderapi.records import Event

# As many digits as the greatest 64-bit integer has.
_SEQUENCE_DIGITS = 19


def event_json(event: Event) -> str:
    """Write one event as a structured-mode JSON document, the order under `data`.

    `sequence` is the attribute of the CloudEvents sequence extension, and zero-padded because its
    values are compared as text.
    """
    attributes = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": "/orders",
        "type": event.type,
        "subject": event.order_id,
        "time": event.created_at,
        "datacontenttype": "application/json",
        "sequence": str(event.sequence).zfill(_SEQUENCE_DIGITS),
    }
    # The payload is JSON already, checked when it was written.
    return f'{encode(attributes)[:-1]},"data":{event.payload}}}'


def page_json(events: Iterable[Event], next_after: int) -> str:
    """Write a page of the feed, and the number to ask for the next one with."""
    return f'{{"events":[{",".join(map(event_json, events))}],"next":{next_after}}}\n'
