"""The schemas of events: the query of the feed, an event, and a page of events."""

from collections.abc import Iterable
from dataclasses import dataclass

from marshmallow import fields, validate

from orderapi.orders import EVENT_TYPE
from orderapi.web.schemas.closed import ClosedSchema
from orderapi.web.schemas.fields import QueryInteger
from orderapi.web.schemas.loading import load_query
from orderapi.web.schemas.orders import OrderSchema

PAGE_MAX_EVENTS = 1000
PAGE_DEFAULT_EVENTS = 100
# The largest number that the store can have. A client may pass the `sequence` of an event as it is,
# with its leading zeros.
SEQUENCE_MAX = 2**63 - 1
WAIT_MAX_S = 30

_SEQUENCE = rf"[0-9]{{{len(str(SEQUENCE_MAX))}}}\Z"
_TRACEPARENT = r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z"


class EventQuerySchema(ClosedSchema):
    """The query of `GET /events`."""

    after = QueryInteger(
        0,
        SEQUENCE_MAX,
        load_default=0,
        metadata={
            "description": "Only events with a greater number are in the answer. A number beyond "
            "the last event is refused with 422, because the database has then been put back to "
            "an older state, or is another database."
        },
    )
    limit = QueryInteger(
        1,
        PAGE_MAX_EVENTS,
        load_default=PAGE_DEFAULT_EVENTS,
        metadata={"description": "The maximum number of events in the answer."},
    )
    wait = QueryInteger(
        0,
        WAIT_MAX_S,
        load_default=0,
        metadata={
            "description": "How many seconds the request waits for the first event if there is "
            "none yet."
        },
    )


class EventSchema(ClosedSchema):
    """An event: CloudEvents 1.0 in its JSON format.

    It has the extension `sequence`, and `traceparent` of the extension for distributed tracing.
    """

    specversion = fields.String(
        required=True,
        validate=validate.Equal("1.0"),
        metadata={"description": "The version of CloudEvents."},
    )
    id = fields.UUID(
        required=True,
        metadata={"description": "The event's own id. A repeated delivery has the same id."},
    )
    source = fields.String(
        required=True,
        validate=validate.Equal("/orders"),
        metadata={"description": "The resource in which the event happened."},
    )
    type = fields.String(
        required=True,
        validate=validate.Equal(EVENT_TYPE),
        metadata={"description": "What happened."},
    )
    subject = fields.UUID(required=True, metadata={"description": "The id of the order."})
    time = fields.String(
        required=True,
        validate=validate.Regexp(_TIME),
        metadata={"description": "When the order was made, in UTC.", "format": "date-time"},
    )
    datacontenttype = fields.String(
        required=True,
        validate=validate.Equal("application/json"),
        metadata={"description": "The media type of `data`."},
    )
    sequence = fields.String(
        required=True,
        validate=validate.Regexp(_SEQUENCE),
        metadata={
            "description": "The event's number as text, padded with zeros, so that the order of "
            "the texts is the order of the numbers (CloudEvents extension `sequence`)."
        },
    )
    traceparent = fields.String(
        validate=validate.Regexp(_TRACEPARENT),
        metadata={
            "description": "The trace of the request that made the order, if that request named "
            "one (CloudEvents extension for distributed tracing)."
        },
    )
    data = fields.Nested(
        OrderSchema, required=True, metadata={"description": "The order as it was made."}
    )


class EventPageSchema(ClosedSchema):
    """The answer of `GET /events`."""

    events = fields.List(
        fields.Nested(EventSchema),
        required=True,
        validate=validate.Length(max=PAGE_MAX_EVENTS),
        metadata={"description": "The events, the oldest one first."},
    )
    next = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(0, SEQUENCE_MAX),
        metadata={
            "description": "The value of `after` for the next request: the number of the last "
            "event, or `after` again if there was nothing new.",
            "format": "int64",
        },
    )


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A validated query of `GET /events`."""

    after: int
    limit: int
    wait_s: int


_event_query = EventQuerySchema()


def load_event_query(pairs: Iterable[tuple[str, str]]) -> EventQuery:
    """Return the query of the feed, read from its parameters.

    Raises ValidationFailed if a parameter is invalid, unknown or given twice.
    """
    query = load_query(_event_query, pairs)
    return EventQuery(after=query["after"], limit=query["limit"], wait_s=query["wait"])
