"""The page of an order, with everything that is stored about it."""

from flask import Blueprint, abort, redirect, render_template
from werkzeug.wrappers import Response

from orderapi.console.links import order_path
from orderapi.console.search import SEE_OTHER
from orderapi.console.story import read_story
from orderapi.store.contract import Store


def blueprint(store: Store) -> Blueprint:
    """Return the pages of single orders of a store."""
    orders = Blueprint("orders", __name__)

    @orders.get("/orders/<order_id>")
    def show_order(order_id: str) -> str:
        found = store.read(lambda tx: read_story(tx, order_id))
        if found is None:
            abort(404)
        return render_template("order.html", story=found)

    @orders.get("/events/<int:sequence>")
    def show_event(sequence: int) -> Response:
        event = store.read_one(lambda tx: tx.lookup.find_event(sequence))
        if event is None:
            abort(404)
        return redirect(order_path(event.order_id), SEE_OTHER)

    return orders
