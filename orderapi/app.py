"""The wiring, in reading order."""

from flask import Flask

from orderapi.feed import Feed
from orderapi.settings import Settings
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from orderapi.web import events, health, metrics, orders, problems, proxy, this_request
from orderapi.web.lean import LeanFlask


def create_app(settings: Settings, store: Store | None = None) -> Flask:
    """Make the WSGI application.

    It expects a database that `store.prepare()` has made; it opens it with the first request.
    """
    # On threads, half of them may wait for a stuck store, and a quarter for events; the rest stay
    # free for those who only read. Greenlets are plenty.
    on_threads = settings.worker_class == "gthread"
    if store is None:
        bound = settings.threads // 2 if on_threads else None
        store = open_store(settings.database_url, waiting_when_stuck=bound)
    feed = Feed(store, waiting_most=settings.threads // 4 if on_threads else None)
    app = LeanFlask("orderapi.web", static_folder=None)
    app.extensions["store"] = store
    app.extensions["feed"] = feed
    # `/orders/` and `//orders` are other paths, and not found.
    app.url_map.merge_slashes = False
    proxy.register(app)
    this_request.register(app)
    problems.register(app)
    app.register_blueprint(health.blueprint(store))
    app.register_blueprint(orders.blueprint(store, fault_injection=settings.fault_injection))
    app.register_blueprint(events.blueprint(feed))
    app.register_blueprint(metrics.blueprint(store))
    return app
