"""Makes the WSGI application of the console from its parts."""

from flask import Flask

from orderapi.console import (
    clients,
    entry,
    failures,
    links,
    lists,
    now_page,
    orders,
    retry_page,
    search,
    words,
)
from orderapi.console.access import Access
from orderapi.store.contract import Store


def create_console(store: Store, access: Access) -> Flask:
    """Make the WSGI application of the operator's pages on a store, which it only reads."""
    app = Flask("orderapi.console")
    # Every page is made from its URL alone, so no request needs a body.
    app.config.update(MAX_CONTENT_LENGTH=0)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    words.register(app)
    links.register(app)
    entry.register(app, access)
    failures.register(app)
    app.register_blueprint(search.blueprint(store))
    app.register_blueprint(now_page.blueprint(store))
    app.register_blueprint(lists.blueprint(store))
    app.register_blueprint(orders.blueprint(store))
    app.register_blueprint(clients.blueprint(store))
    app.register_blueprint(retry_page.blueprint(store))
    return app
