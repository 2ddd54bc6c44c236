"""The resource `/events`: a client reads the committed events after a sequence number."""

from flask import Blueprint, request

from orderapi.events.feed import Feed
from orderapi.records import EventPage
from orderapi.web import auth
from orderapi.web.query import query_pairs
from orderapi.web.schemas.events import load_event_query
from orderapi.web.whole_response import WholeResponse


def blueprint(feed: Feed) -> Blueprint:
    """Return the resource `/events` of a feed."""
    events = Blueprint("events", __name__)

    @events.get("/events")
    def list_events() -> WholeResponse:
        query = load_event_query(query_pairs(request))
        page = EventPage(auth.caller().client_id, query.after, query.limit)
        body = feed.read(page, query.wait_s)
        if query.wait_s:
            auth.refuse_if_ended()
        return WholeResponse(body)

    return events
