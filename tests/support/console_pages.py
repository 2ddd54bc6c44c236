"""The console without a server: a client of Flask that has entered it reads its pages."""

import html
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from orderapi import idempotency
from orderapi.console.access import Access
from orderapi.console.app import create_console
from orderapi.orders import place_order
from orderapi.records import Claim, NewOrder, Reply
from orderapi.store.contract import Store

ADDRESS = "http://127.0.0.1:8100"
NO_SUCH_ID = "0198c0de-0000-7000-8000-000000000000"


@dataclass
class Console:
    """One console, the links that it has announced, and a browser."""

    app: Flask
    links: list[str]
    browser: FlaskClient

    def get(self, path: str, **headers: str) -> TestResponse:
        """Get a page; underscores in header names stand for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.get(path, base_url=ADDRESS, headers=sent)

    def words(self, path: str) -> str:
        """Get the text of a page, without its elements and with single spaces."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.status
        return words_of(answer)

    def search(self, query: str) -> TestResponse:
        return self.get(f"/search?{urlencode({'q': query})}")


def words_of(answer: TestResponse) -> str:
    """Give the text of a page, without its elements and with single spaces."""
    _, _, body = answer.text.partition("<body>")
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def stranger(store: Store) -> Console:
    """Make a console on a store, which this browser has not entered yet."""
    links: list[str] = []
    access = Access(links.append)
    app = create_console(store, access)
    app.testing = True  # an unexpected exception fails the test
    access.announce_link()
    return Console(app, links, app.test_client())


def entered(store: Store) -> Console:
    """Make a console on a store, and enter it."""
    console = stranger(store)
    assert console.get(console.links[-1]).status_code == 200
    return console


def order(
    store: Store,
    key: str,
    *,
    client_id: str = "public",
    customer_id: str = "cust1",
    item_id: str = "item1",
    quantity: int = 1,
    traceparent: str | None = None,
) -> Reply:
    """Place an order of any client, as the view does."""
    payload = {"customer_id": customer_id, "item_id": item_id, "quantity": quantity}
    claim = Claim(client_id, key, idempotency.fingerprint("POST", "/orders", payload))
    new_order = NewOrder(client_id, customer_id, item_id, quantity)
    return store.write(lambda tx: place_order(tx, claim, new_order, traceparent))
