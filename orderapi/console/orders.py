"""The pages of orders: the story of one, and the newest of a customer."""

from flask import Blueprint, abort, redirect, render_template, request
from werkzeug.wrappers import Response

from orderapi.console import story
from orderapi.console.links import order_path
from orderapi.console.search import SEE_OTHER
from orderapi.store.contract import Store

PAGE_ORDERS = 50


def blueprint(store: Store) -> Blueprint:
    """Return the pages of the orders of a store."""
    orders = Blueprint("orders", __name__)

    @orders.get("/orders")
    def list_orders() -> str:
        customer = request.args.get("customer", "")
        found = store.read_one(
            lambda tx: tx.lookup.list_orders_of_customer(customer, PAGE_ORDERS + 1)
        )
        return render_template(
            "orders.html",
            customer=customer,
            orders=found[:PAGE_ORDERS],
            has_more=len(found) > PAGE_ORDERS,
        )

    @orders.get("/orders/<order_id>")
    def show_order(order_id: str) -> str:
        told = store.read(lambda tx: story.tell(tx, order_id))
        if told is None:
            abort(404)
        return render_template("order.html", story=told)

    @orders.get("/events/<int:sequence>")
    def show_event(sequence: int) -> Response:
        event = store.read_one(lambda tx: tx.lookup.find_event(sequence))
        if event is None:
            abort(404)
        return redirect(order_path(event.order_id), SEE_OTHER)

    return orders
