"""Writes an event for clients, as a CloudEvents 1.0 document in the JSON format."""

from collections.abc import Iterable

from orderapi.documents import encode
from orderapi.records import Event

# The largest 64-bit integer has this many digits.
_SEQUENCE_DIGITS = 19


def event_json(event: Event) -> str:
    """Return one event as a JSON document in structured mode. Its member `data` is the order.

    The attribute `sequence` belongs to the sequence extension of CloudEvents. It is padded with
    zeros because consumers compare its values as text. The attribute `traceparent` belongs to the
    extension for distributed tracing. An event has it if the request that made the event had it.
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
    if event.traceparent is not None:
        attributes["traceparent"] = event.traceparent
    # The payload is already a JSON document. It was written together with the order.
    return f'{encode(attributes)[:-1]},"data":{event.payload}}}'


def page_json(events: Iterable[Event], next_after: int) -> str:
    """Return a page of the feed. `next_after` is the value of `after` for the next page."""
    return f'{{"events":[{",".join(map(event_json, events))}],"next":{next_after}}}\n'
