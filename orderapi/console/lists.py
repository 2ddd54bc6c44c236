"""The lists of orders and of events: filters in the URL, pages, and each page as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

from flask import Blueprint, Response, render_template, request

from orderapi.console.filters import Filters, Page, page_of, read_filters
from orderapi.records import Event, Order
from orderapi.store.contract import Store

_ORDER_HEADINGS = (
    "order_id", "client_id", "customer_id", "item_id", "quantity", "status", "created_at",
)  # fmt: skip
_EVENT_HEADINGS = (
    "sequence", "event_id", "type", "order_id", "client_id", "payload", "created_at",
    "traceparent",
)  # fmt: skip
# A spreadsheet runs a cell that begins with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def blueprint(store: Store) -> Blueprint:
    """Return the lists of a store."""
    lists = Blueprint("lists", __name__)

    def orders_of(filters: Filters) -> Page[Order]:
        found = store.read_one(lambda tx: tx.lookup.list_orders(filters.range()))
        return page_of(found, filters)

    def events_of(filters: Filters) -> Page[Event]:
        found = store.read_one(lambda tx: tx.lookup.list_events_of_orders(filters.range()))
        return page_of(found, filters)

    @lists.get("/orders")
    def list_orders() -> str:
        filters = read_filters(request.args)
        return _rendered("orders.html", filters, orders_of(filters))

    @lists.get("/orders.csv")
    def export_orders() -> Response:
        orders = orders_of(read_filters(request.args)).rows
        return _csv("orders.csv", _ORDER_HEADINGS, orders)

    @lists.get("/events")
    def list_events() -> str:
        filters = read_filters(request.args)
        return _rendered("events.html", filters, events_of(filters))

    @lists.get("/events.csv")
    def export_events() -> Response:
        events = events_of(read_filters(request.args)).rows
        return _csv("events.csv", _EVENT_HEADINGS, events)

    return lists


def _rendered(template: str, filters: Filters, page: Page[Order] | Page[Event]) -> str:
    return render_template(template, filters=filters, page=page)


def _csv(name: str, headings: Sequence[str], rows: Iterable[Order] | Iterable[Event]) -> Response:
    """Write rows as RFC 4180 says, for a browser to save as a file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(headings)
    for row in rows:
        writer.writerow([_cell(getattr(row, heading)) for heading in headings])
    response = Response(text.getvalue(), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
